"""Trace contexts where they cross a border: in headers (W3C Trace Context), and as one line of text in a row."""

import contextvars
import re
from collections.abc import Iterable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PARENT = "traceparent"
STATE = "tracestate"
LONGEST = 512
"""Characters of a header that is believed; a longer one is taken for none."""

_EXTENSION = "ce_"  # CloudEvents' distributed tracing extension, as record headers have it
_NAMES = frozenset({PARENT, STATE, _EXTENSION + PARENT, _EXTENSION + STATE})
_UNSAMPLED = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_W3C = TraceContextTextMapPropagator()
_NOTHING = Context()


def current() -> SpanContext | None:
    """The context of the span that the running task works on."""
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


def apart() -> contextvars.Context:
    """The running task's variables without its span: for a task that outlives what happened to begin it."""
    variables = contextvars.copy_context()
    variables.run(attach, _NOTHING)
    return variables


def of_headers(headers: Mapping[str, str], prefix: str = "") -> SpanContext | None:
    """The context in ``traceparent`` and ``tracestate``, each with ``prefix``; None when there is no valid one."""
    parent, state = headers.get(prefix + PARENT, ""), headers.get(prefix + STATE, "")
    if not 0 < len(parent) <= LONGEST:
        return None
    carrier = {PARENT: parent, STATE: state} if 0 < len(state) <= LONGEST else {PARENT: parent}
    context = trace.get_current_span(_W3C.extract(carrier, _NOTHING)).get_span_context()
    return context if context.is_valid else None


def of_record(headers: Iterable[tuple[str, bytes]]) -> SpanContext | None:
    """The context in a record's headers: who sent it, or else what its event says of itself (``ce_traceparent``)."""
    found = {name: content for name, content in headers if name in _NAMES}
    if not found:
        return None
    texts = {name: content.decode("latin-1") for name, content in found.items() if content}
    return of_headers(texts) or of_headers(texts, _EXTENSION)


def says_unsampled(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether whoever sent a record records nothing of its trace; far quicker than to read the context."""
    for name, content in headers:
        if name == PARENT:
            return content is not None and _UNSAMPLED.fullmatch(content) is not None
    return False


def headers_of(context: SpanContext | None) -> dict[str, str]:
    """The headers that carry a context; none for None."""
    carrier: dict[str, str] = {}
    if context is not None:
        _W3C.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(context), _NOTHING))
    return carrier


def text_of(context: SpanContext | None) -> str | None:
    """A context as one line: ``traceparent``, and after a space ``tracestate`` if there is one."""
    return " ".join(headers_of(context).values()) or None


def of_text(text: str | None) -> SpanContext | None:
    """The context that :func:`text_of` wrote down."""
    if text is None:
        return None
    parent, _, state = text.partition(" ")
    return of_headers({PARENT: parent, STATE: state})
