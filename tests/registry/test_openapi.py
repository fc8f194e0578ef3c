"""Every operation of the registry, asked as nobody thought of: it answers as it documents, and never a 500."""

from urllib.parse import quote

import pytest

from tests.registry.platform import Client, LocalRegistry
from tests.registry.test_roles import ALLOWED, ROLES
from tests.registry.worker import FakeWorker
from tests.support import openapi

REQUESTS = 6
"""To each operation."""
PACKAGES = "POST /api/plugins/marketplace"
"""Takes the bytes of a package, which test_publication.py makes wrong in every way."""


@pytest.mark.timeout(300)
async def test_every_answer_is_one_that_the_document_tells_of(registry: LocalRegistry, worker: FakeWorker) -> None:
    document = (await registry.http.get("/openapi.json")).json()
    owner, plugin_id = registry.caller(), await registry.publish()
    known = {"plugin_id": plugin_id, "version": "1.0.0", "installation_id": (await owner.install(plugin_id))["id"]}
    for operation in sorted(ALLOWED.keys() - {PACKAGES}):
        role = next(role for role in ROLES if role in ALLOWED[operation])
        for number, case in enumerate(openapi.cases(document, operation, REQUESTS)):
            if number % 2:  # else most would be about what is not there
                case.path_parameters.update({name: known[name] for name in known.keys() & case.path_parameters.keys()})
            response = await openapi.send(registry.http, case, owner.also(role).headers)
            if response.status_code != 503 or response.json()["code"] != "no_payment_provider":
                openapi.check(case, response)


@pytest.mark.parametrize("path", ["/marketplace/{}/reviews", "/{}", "/regions/{}"])
async def test_nul_in_an_address_is_refused_before_the_database_sees_it(owner: Client, path: str) -> None:
    answer = await owner.get(path.format(quote("a\0b")))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("query", [{"cursor": "a\0b"}, {"a\0b": "1"}])
async def test_nul_in_a_query_is_refused_too(owner: Client, query: dict[str, str]) -> None:
    answer = await owner.get("/audit", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_body_that_is_not_utf_8_is_refused_as_documented(owner: Client) -> None:
    headers = owner.headers | {"Content-Type": "application/json"}
    answer = await owner.registry.http.post("/api/plugins/install", content=b'{"\xff', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
