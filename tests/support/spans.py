"""Spans as tests look at them: recorded in memory, or received by a collector that speaks OTLP over HTTP."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, TraceFlags
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outlet.local.waiting import until
from services.common.tracing import Tracing, TracingSettings
from services.common.tracing.export import tracing_to
from tests.gateway.support import serving

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"
REMOTE = SpanContext(TRACE_ID, 0xB7AD6B7169203331, is_remote=True, trace_flags=TraceFlags(1))
"""The context that SAMPLED says."""


def recording(**settings: Any) -> tuple[Tracing, InMemorySpanExporter]:
    """What makes spans, and what has them once they have ended."""
    exporter = InMemorySpanExporter()
    return tracing_to(SimpleSpanProcessor(exporter), "tests", TracingSettings(**settings)), exporter


@dataclass(frozen=True)
class Seen:
    """A span as a collector gets it; ids in hexadecimal, ``parent`` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, str | int]
    failed: bool
    links: tuple[str, ...]


@dataclass
class Collector:
    """Takes what is sent to ``/v1/traces``."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)

    async def receive(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            service = str(_plain(resource.resource.attributes)["service.name"])
            self.spans += [_seen(service, span) for scope in resource.scope_spans for span in scope.spans]
        return Response(media_type="application/x-protobuf")

    def named(self, name: str, trace: str | None = None) -> list[Seen]:
        """The spans with this name, of one trace or of all."""
        return [span for span in self.spans if span.name == name and trace in (None, span.trace)]

    async def until(self, holds: Callable[[], bool], what: str, *, within: float = 30.0) -> None:
        """Wait until the spans that have come are as ``holds`` says."""

        async def come() -> bool:
            return holds()

        await until(come, within=within, what=what)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on this machine."""
    collector = Collector()
    async with serving(Starlette(routes=[Route("/v1/traces", collector.receive, methods=["POST"])])) as url:
        collector.url = url
        yield collector


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _plain(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        tuple(link.trace_id.hex() for link in span.links),
    )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in attributes
    }
