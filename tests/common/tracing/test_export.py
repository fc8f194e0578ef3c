"""Spans on their way to a collector that takes them, is away, or never answers."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from services.common.tracing import TracingSettings, open_tracing
from services.common.tracing.export import FLUSH_SECONDS, BoundedProcessor, SpanExports, tracing_to
from tests.gateway.support import closed_port
from tests.support.spans import collecting

PATIENCE = 5.0


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> TracingSettings:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    return TracingSettings()


async def test_what_waits_reaches_the_collector_when_the_service_ends(endpoint: pytest.MonkeyPatch) -> None:
    async with collecting() as collector:
        async with open_tracing("gateway", use(endpoint, collector.url)) as tracing:
            with tracing.span("GET /", SpanKind.SERVER, None, {"http.request.method": "GET"}):
                pass
        [span] = collector.spans
        assert (span.service, span.name, span.attributes["http.request.method"]) == ("outlet-gateway", "GET /", "GET")


async def test_a_collector_that_never_answers_holds_up_neither_a_span_nor_the_end(
    endpoint: pytest.MonkeyPatch,
) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as silent:
        settings = use(endpoint, f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
        endpoint.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
        with capture_logs() as logs:
            async with open_tracing("gateway", settings) as tracing:
                began = time.monotonic()
                for _ in range(100):
                    tracing.start("any", SpanKind.INTERNAL, None, {}).end()
                assert time.monotonic() - began < 1
            assert time.monotonic() - began < FLUSH_SECONDS + PATIENCE
        [line] = [line for line in logs if line["event"].startswith("spans are given up")]
        assert line["spans"] == 100
        await asyncio.to_thread(_no_flush_runs)


async def test_spans_are_dropped_and_counted_while_the_collector_is_away(endpoint: pytest.MonkeyPatch) -> None:
    settings = use(endpoint, f"http://127.0.0.1:{closed_port()}")
    async with open_tracing("gateway", settings) as tracing:
        assert tracing.exports is not None
        registry = CollectorRegistry()
        registry.register(tracing.exports)
        for _ in range(10):
            tracing.start("any", SpanKind.INTERNAL, None, {}).end()
    await asyncio.to_thread(_no_flush_runs)
    assert registry.get_sample_value("outlet_spans_dropped_total") == 10
    assert registry.get_sample_value("outlet_spans_exported_total") == 0


class Held(SpanExporter):
    """A collector that takes its time."""

    def __init__(self) -> None:
        self.entered, self.let = threading.Event(), threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        assert self.let.wait(PATIENCE)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_the_queue_has_an_end_and_its_loss_is_told_once() -> None:
    held = Held()
    exports = SpanExports(held, 10)
    settings = TracingSettings(bsp_max_queue_size=10, bsp_max_export_batch_size=5)
    processor = BoundedProcessor(exports, settings)
    tracing = tracing_to(processor, "tests", settings, exports)
    for number in range(5):
        tracing.start(f"span-{number}", SpanKind.INTERNAL, None, {}).end()
    assert held.entered.wait(PATIENCE)
    for number in range(5, 1_000):
        tracing.start(f"span-{number}", SpanKind.INTERNAL, None, {}).end()
    assert (exports.waiting, exports.dropped) == (10, 990)
    with capture_logs() as logs:
        held.let.set()
        processor.shutdown()  # type: ignore[no-untyped-call]
    assert held.names == [f"span-{number}" for number in range(10)]
    assert (exports.waiting, exports.sent, exports.dropped) == (0, 10, 990)
    assert [line["spans"] for line in logs] == [990]


async def test_nothing_runs_when_no_traces_are_wanted() -> None:
    before = threading.active_count()
    async with open_tracing("gateway", TracingSettings()) as tracing, open_tracing("gateway", None) as none:
        assert (tracing.on, none.on, threading.active_count()) == (False, False, before)


def _no_flush_runs() -> None:
    """Threads that a test leaves behind would tell of themselves in another one."""
    for thread in threading.enumerate():
        if thread.name.startswith(("flush of spans", "OtelBatch")):
            thread.join(PATIENCE)
            assert not thread.is_alive()
