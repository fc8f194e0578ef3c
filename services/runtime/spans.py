"""The spans of what plugins do. Names and attributes have an end, and none holds what an event or a request says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry.trace import Span, SpanContext, SpanKind

from services.common.directory import Installation
from services.common.tracing import Tracing, failed
from services.common.tracing.spans import Attributes
from services.runtime.invocation import Invocation
from services.runtime.route_names import route_name

PLUGIN = "outlet.plugin.id"
VERSION = "outlet.plugin.version"
INSTALLATION = "outlet.installation.id"
ORGANIZATION = "outlet.organization.id"
STORE = "outlet.store.id"
EVENT = "cloudevents.event_type"
ATTEMPT = "outlet.attempt"
API_METHOD = "outlet.api.method"
WEBHOOK = "outlet.webhook.id"
RESENT = "http.request.resend_count"


def about(installation: Installation) -> dict[str, str]:
    """Whose code runs, and for whom."""
    return {
        PLUGIN: installation.plugin_id,
        VERSION: installation.version,
        INSTALLATION: installation.id,
        ORGANIZATION: installation.organization_id,
    }


def hook(
    tracing: Tracing, installation: Installation, event: str, store: str, parent: SpanContext, attempt: int
) -> Span:
    """The span of one attempt of one hook, from when its turn has come until it is concluded."""
    attributes: Attributes = {**about(installation), STORE: store, EVENT: event, ATTEMPT: attempt}
    return tracing.start(f"hook {event}", SpanKind.INTERNAL, parent, attributes)


@contextmanager
def calling(
    tracing: Tracing, invocation: Invocation, parent: SpanContext | None, **more: str | int
) -> Iterator[Invocation]:
    """The span of a route, a lifecycle hook, a tick or a job; yields the invocation as a part of it."""
    if not tracing.on:
        yield invocation
        return
    installation, target = invocation.installation, invocation.target
    if invocation.kind == "route":
        target = route_name(installation.manifest.routes, target)
    attributes: Attributes = {**about(installation), **({STORE: invocation.store} if invocation.store else {}), **more}
    with tracing.span(f"{invocation.kind} {target}", SpanKind.INTERNAL, parent, attributes) as span:
        yield replace(invocation, trace=span.get_span_context())


@contextmanager
def answering(tracing: Tracing, invocation: Invocation, method: str, *, known: bool) -> Iterator[None]:
    """The span of one API call, within which whatever it sends belongs to it.

    Its parent is the invocation, whatever task answers it: a guest has no say in it.
    """
    parent = invocation.trace
    if parent is None or not parent.trace_flags.sampled:
        with tracing.within(parent):
            yield
        return
    name = method if known else "unknown"
    attributes = {API_METHOD: name, PLUGIN: invocation.installation.plugin_id}
    with tracing.span(f"api {name}", SpanKind.INTERNAL, parent, attributes):
        yield


def ended(span: Span | None, code: str | None = None) -> None:
    """A hook is concluded: well, or with the ``code`` of its failure."""
    if span is not None:
        if code is not None:
            failed(span, code)
        span.end()
