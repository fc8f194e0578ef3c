"""The span of a request to an HTTP service. The official instrumentation notes full paths, queries and addresses of
clients in it: paths of plugins' routes hold customers' ids."""

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.metrics import METHODS
from services.common.tracing.contexts import of_headers
from services.common.tracing.spans import Tracing

UNTRACED = ("/health", "/metrics", "/realtime")
"""Probes, and connections that last."""


class TracingMiddleware:
    """A span for each request, by the ``tracing`` in the app's state; it continues the caller's trace.

    The caller's is the one in ``traceparent``, or else the one of the event that it brings (``ce-traceparent``).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(UNTRACED):
            await self.app(scope, receive, send)
            return
        tracing: Tracing = scope["app"].state.tracing
        if not tracing.on:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        parent = of_headers(headers) or of_headers(headers, "ce-")
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with tracing.span(method, SpanKind.SERVER, parent, {HTTP_REQUEST_METHOD: method}) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _answered(span, message["status"])
                await send(message)

            try:
                await self.app(scope, receive, watched)
            finally:
                route = getattr(scope.get("route"), "path", None)  # FastAPI's, once it has found it
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute(HTTP_ROUTE, route)


def _answered(span: Span, status: int) -> None:
    span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    if status >= 500:
        span.set_attribute(ERROR_TYPE, str(status))
        span.set_status(Status(StatusCode.ERROR))
