"""From spans to a collector, by OTLP over HTTP: bounded in memory and in time, and never in anybody's way."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.common.tracing.settings import TracingSettings
from services.common.tracing.spans import OFF, TraceIds, Tracing

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
"""How long the end of a process waits for its last spans to reach the collector."""
TELL_SECONDS = 10.0
"""That spans are lost is said so often."""
LONGEST_ATTRIBUTE = 256


class SpanExports(SpanExporter, Collector):
    """Counts what reaches the collector through ``exporter``, and what is lost; Prometheus may ask for it."""

    def __init__(self, exporter: SpanExporter, most_waiting: int) -> None:
        self.waiting = 0
        self.sent = 0
        self.dropped = 0
        self._exporter = exporter
        self._most_waiting = most_waiting
        self._told = (0, -TELL_SECONDS)
        self._closed = False
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Whether one more span may wait. It is dropped otherwise."""
        with self._lock:
            if self.waiting < self._most_waiting:
                self.waiting += 1
                return True
            self.dropped += 1
            return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """In the thread of the batch processor."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self.waiting -= len(spans)
                if result is SpanExportResult.SUCCESS:
                    self.sent += len(spans)
                else:
                    self.dropped += len(spans)
            self._tell()
        return result

    def shutdown(self) -> None:
        """What is not sent by now is given up, what is being tried again included."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("outlet_spans_exported", "Spans that the collector took.", self.sent)
        yield CounterMetricFamily("outlet_spans_dropped", "Spans lost: too many, or no collector.", self.dropped)

    def _tell(self) -> None:
        told, at = self._told
        if self.dropped > told and time.monotonic() - at >= TELL_SECONDS:
            log.warning("spans are lost: the collector is away, or too slow", spans=self.dropped - told)
            self._told = (self.dropped, time.monotonic())


class BoundedProcessor(BatchSpanProcessor):
    """Drops the newest span when too many wait. The SDK's drops the oldest, and logs each."""

    def __init__(self, exports: SpanExports, settings: TracingSettings) -> None:
        super().__init__(exports, settings.bsp_max_queue_size, None, settings.bsp_max_export_batch_size)
        self._exports = exports

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled and self._exports.admits():
            super().on_end(span)


@asynccontextmanager
async def open_tracing(service: str, settings: TracingSettings | None) -> AsyncIterator[Tracing]:
    """What makes a service's spans; OFF when no traces are wanted.

    On exit what waits is flushed, for ``FLUSH_SECONDS`` at most.
    """
    if settings is None or not settings.wanted:
        yield OFF
        return
    # Only who traces pays for it: a tenth of a second and 6 MiB.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exports = SpanExports(OTLPSpanExporter(), settings.bsp_max_queue_size)
    processor = BoundedProcessor(exports, settings)
    try:
        yield tracing_to(processor, service, settings, exports)
    finally:
        await _flush(processor, exports)


def tracing_to(
    processor: SpanProcessor, service: str, settings: TracingSettings, exports: Collector | None = None
) -> Tracing:
    """Spans of ``service`` that go to ``processor``, sampled as ``settings`` say."""
    ratio: Sampler = TraceIdRatioBased(settings.ratio)
    ids = TraceIds()
    provider = TracerProvider(
        sampler=ParentBased(ratio) if settings.parent_based else ratio,
        resource=Resource.create(
            {"service.name": settings.service_name or f"outlet-{service}", "service.namespace": "outlet"}
        ),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_span_attribute_length=LONGEST_ATTRIBUTE),
        id_generator=ids,
    )
    provider.add_span_processor(processor)
    return Tracing(provider, ids, ratio=settings.ratio, parent_based=settings.parent_based, exports=exports)


async def _flush(processor: BatchSpanProcessor, exports: SpanExports) -> None:
    """The SDK's own end knows no time limit, so it runs in a thread that nobody waits for longer than that."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        processor.shutdown()  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):  # the loop has not waited, and is closed
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=flush, name="flush of spans", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await ended.wait()
    except TimeoutError:
        log.warning("spans are given up: the collector is away, or too slow", spans=exports.waiting)
        exports.shutdown()
