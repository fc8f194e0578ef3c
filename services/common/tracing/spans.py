"""Makes the spans of a process. Nothing here is ambient but the span that :meth:`Tracing.span` is working on."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
)
from opentelemetry.util.types import AttributeValue
from prometheus_client.registry import Collector

Attributes = Mapping[str, AttributeValue]

_NOTHING = Context()
_LOW = (1 << 64) - 1
"""The part of a trace's id that decides whether it is sampled (``traceidratio``)."""


class TraceIds(RandomIdGenerator):
    """Random ids; a trace for which the decision was taken before its first span gets the id it was taken for."""

    def __init__(self) -> None:
        self.decided = 0

    def generate_trace_id(self) -> int:
        decided, self.decided = self.decided, 0
        return decided or super().generate_trace_id()


class Tracing:
    """A process's spans; without a provider it makes none, and costs next to nothing.

    ``ratio`` and ``parent_based`` say of the provider's sampler what decides about a record without asking it: that
    would take longer than most hooks do.
    """

    def __init__(
        self,
        provider: TracerProvider | None = None,
        ids: TraceIds | None = None,
        *,
        ratio: float = 1.0,
        parent_based: bool = True,
        exports: Collector | None = None,
    ) -> None:
        self.on: Final = provider is not None
        self.exports: Final = exports
        """Counts the spans that were exported, and those that were lost."""
        self._tracer: Tracer | None = None if provider is None else provider.get_tracer("outlet")
        self._ids = ids or TraceIds()
        self._bound = round(ratio * (_LOW + 1))
        self.parent_based: Final = parent_based

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Attributes,
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """A span that whoever called ends; a new trace without ``parent``."""
        if self._tracer is None:
            return INVALID_SPAN
        return self._tracer.start_span(
            name, _within(parent), kind, attributes, [Link(link) for link in links], record_exception=False
        )

    def samples(self, parent: SpanContext | None) -> bool:
        """Whether the span that :meth:`start` gives next, of this parent, is recorded; quick to ask of many."""
        if not self.on:
            return False
        if parent is not None and self.parent_based:
            return parent.trace_flags.sampled
        trace_id = random.getrandbits(128) if parent is None else parent.trace_id
        if trace_id & _LOW >= self._bound:
            return False
        if parent is None:
            self._ids.decided = trace_id
        return True

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Attributes,
        links: Sequence[SpanContext] = (),
    ) -> Iterator[Span]:
        """A span that ends with the block, and is the current one within it. What the block raises is its error."""
        if not self.on:
            yield INVALID_SPAN
            return
        span = self.start(name, kind, parent, attributes, links)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            span.end()

    @contextmanager
    def within(self, parent: SpanContext | None) -> Iterator[None]:
        """Whatever is sent or logged in the block belongs to ``parent``, or, without one, to a trace of no record."""
        if not self.on:
            yield
            return
        with trace.use_span(NonRecordingSpan(parent or self._unsampled())):
            yield

    def _unsampled(self) -> SpanContext:
        return SpanContext(self._ids.generate_trace_id(), self._ids.generate_span_id(), is_remote=False)


def failed(span: Span, failure: BaseException | str) -> None:
    """Mark a span: by the code of a failure, or the class of an exception. Messages can hold what is personal."""
    if not span.is_recording():
        return
    code = failure if isinstance(failure, str) else getattr(failure, "code", None)
    span.set_attribute(ERROR_TYPE, code if isinstance(code, str) else type(failure).__name__)
    span.set_status(Status(StatusCode.ERROR))


def _within(parent: SpanContext | None) -> Context:
    return _NOTHING if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), _NOTHING)


OFF: Final = Tracing()
