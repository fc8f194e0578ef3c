"""Requests that nobody thought of, made from a service's own OpenAPI document, and what every answer must keep to.

The same document gives the same requests each time. Half of them keep to the document and half do not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from requests import Request
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BASE = "http://service"


def cases(document: Mapping[str, Any], operation: str, count: int) -> Iterator[Case[Any]]:
    """About ``count`` requests to one operation (``GET /path``), half of them as it documents them."""
    method, path = operation.split(" ", 1)
    found = schemathesis.openapi.from_dict(dict(document))[path][method]
    described = document["paths"][path][method.lower()]
    modes = [GenerationMode.POSITIVE]
    if described.get("parameters") or "requestBody" in described:  # else there is nothing to do wrong
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:
        yield from _drawn(found.as_strategy(mode), count // 2)


def _drawn(strategy: SearchStrategy[Case[Any]], count: int) -> list[Case[Any]]:
    made: list[Case[Any]] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case: Case[Any]) -> None:
        made.append(case)

    draw()
    return made


async def send(client: httpx.AsyncClient, case: Case[Any], headers: Mapping[str, str]) -> httpx.Response:
    """Send a request as it was drawn, with these headers beside its own."""
    drawn = case.as_transport_kwargs(base_url=BASE)
    sent = Request(**{name: value for name, value in drawn.items() if name in PARTS}).prepare()
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    names = {name: str(value) for name, value in sent.headers.items()} | dict(headers)
    assert body is None or isinstance(body, bytes)
    assert sent.method is not None
    assert sent.url is not None
    return await client.request(sent.method, sent.url.removeprefix(BASE), content=body, headers=names)


PARTS = ("method", "url", "headers", "params", "json", "data", "files", "cookies")


def check(case: Case[Any], response: httpx.Response) -> None:
    """Raises an exception group that says what of the document an answer does not keep to."""
    case.validate_response(response, checks=CHECKS)
