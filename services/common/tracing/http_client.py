"""The span of a request that is sent. Neither path nor query is noted: they hold customers' ids, and secrets."""

from contextlib import AbstractContextManager

import httpx
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import Span, SpanKind

from services.common.tracing.contexts import current
from services.common.tracing.spans import Attributes, Tracing, failed

PORTS = {"http": 80, "https": 443}


def requesting(
    tracing: Tracing, method: str, url: httpx.URL, about: Attributes | None = None
) -> AbstractContextManager[Span]:
    """A span for one request to ``url``, part of what the caller is at; whether it goes along is for the caller."""
    attributes = {
        HTTP_REQUEST_METHOD: method,
        SERVER_ADDRESS: url.host,
        SERVER_PORT: url.port or PORTS.get(url.scheme, 0),
        **(about or {}),
    }
    return tracing.span(method, SpanKind.CLIENT, current(), attributes)


def answered(span: Span, status: int) -> None:
    """What came back; what is no success is an error to whoever asked."""
    span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    if status >= 400:
        failed(span, str(status))
