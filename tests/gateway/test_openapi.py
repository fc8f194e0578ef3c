"""Every operation that the gateway answers itself, asked as nobody thought of: as it documents, and never a 500."""

import httpx

from outlet.local.issuer import Issuer
from tests.gateway.support import FakeWorker
from tests.support import openapi

REQUESTS = 20
"""To each operation."""


async def test_every_answer_is_one_that_the_document_tells_of(
    client: httpx.AsyncClient, issuer: Issuer, worker: FakeWorker
) -> None:
    document = (await client.get("/openapi.json")).json()
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'acme')}"}
    operations = [f"{verb.upper()} {path}" for path, verbs in document["paths"].items() for verb in verbs]
    assert {"POST /api/events", "GET /api/dead-letters", "GET /api/plugins/{installation_id}/logs"} <= set(operations)
    for operation in operations:
        for case in openapi.cases(document, operation, REQUESTS):
            if case.query and "wait" in case.query:
                case.query["wait"] = 0  # it would wait for a line as long as it was asked to
            openapi.check(case, await openapi.send(client, case, headers))
