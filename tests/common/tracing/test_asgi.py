"""The span of a request to an HTTP service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.http import create_app
from services.common.telemetry import add_trace_ids
from services.common.tracing import current
from tests.support.spans import REMOTE, SAMPLED, recording


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


class Service:
    """An app whose spans stay here."""

    def __init__(self) -> None:
        self.app = create_app("Tests", nothing)
        self.app.state.tracing, self.spans = recording()
        self.line: dict[str, Any] = {}

        @self.app.get("/customers/{customer}")
        async def look(customer: str) -> dict[str, bool]:
            self.line = dict(add_trace_ids(structlog.get_logger(), "info", {"event": customer}))
            return {"traced": current() is not None}

        @self.app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("the customer's name")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tests") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
def service() -> Service:
    return Service()


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


async def test_a_request_continues_the_callers_trace_under_the_name_of_its_route(service: Service) -> None:
    assert (await service.get("/customers/c-4711?card=5", traceparent=SAMPLED)).json() == {"traced": True}
    span = only(service.spans)
    assert (span.name, span.parent) == ("GET /customers/{customer}", REMOTE)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/customers/{customer}",
        "http.response.status_code": 200,
    }
    assert "4711" not in span.to_json()


async def test_lines_within_a_request_carry_the_ids_of_its_span(service: Service) -> None:
    await service.get("/customers/c-1")
    context = only(service.spans).context
    assert context is not None
    assert service.line == {
        "event": "c-1",
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }
    assert add_trace_ids(structlog.get_logger(), "info", {"event": "outside"}) == {"event": "outside"}


async def test_an_event_in_binary_mode_brings_its_own_trace_unless_the_request_has_one(service: Service) -> None:
    another = SAMPLED.replace("0af7", "1af7")
    await service.get("/customers/c-1", ce_traceparent=SAMPLED)
    assert only(service.spans).parent == REMOTE
    service.spans.clear()
    await service.get("/customers/c-1", ce_traceparent=another, traceparent=SAMPLED)
    assert only(service.spans).parent == REMOTE


async def test_a_malformed_traceparent_begins_a_new_trace(service: Service) -> None:
    assert (await service.get("/customers/c-1", traceparent="00-nonsense-01")).status_code == 200
    assert only(service.spans).parent is None


async def test_a_failure_is_told_by_its_status(service: Service) -> None:
    assert (await service.get("/broken")).status_code == 500
    span = only(service.spans)
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.status.is_ok) == ("500", False)
    assert "customer" not in span.to_json()


async def test_probes_are_not_traced_and_without_tracing_nothing_is(service: Service) -> None:
    for path in ("/health/live", "/metrics"):
        assert (await service.get(path)).status_code == 200
    untraced = create_app("Tests", nothing)
    service.app.state.tracing = untraced.state.tracing
    assert (await service.get("/customers/c-1")).json() == {"traced": False}
    assert service.spans.get_finished_spans() == ()
