"""Every operation of the service, asked as nobody thought of: it answers as it documents, and never a 500."""

import httpx

from outlet.local.issuer import Issuer
from tests.support import openapi
from tests.ui_components.test_injection_points import issuer, service

__all__ = ["issuer", "service"]

REQUESTS = 40


async def test_every_answer_is_one_that_the_document_tells_of(service: httpx.AsyncClient, issuer: Issuer) -> None:
    document = (await service.get("/openapi.json")).json()
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'acme')}"}
    operations = [f"{verb.upper()} {path}" for path, verbs in document["paths"].items() for verb in verbs]
    assert operations
    for operation in operations:
        for case in openapi.cases(document, operation, REQUESTS):
            openapi.check(case, await openapi.send(service, case, headers))
