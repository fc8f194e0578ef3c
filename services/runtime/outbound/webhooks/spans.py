"""The span of one attempt at a delivery: a part of the trace that caused it, whenever that was."""

from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS
from opentelemetry.trace import Span, SpanKind

from services.common.directory import Installation
from services.common.tracing import Tracing, failed, of_text
from services.common.tracing.spans import Attributes
from services.runtime import spans
from services.runtime.outbound.webhooks.queue import Delivery, Outcome


def attempting(tracing: Tracing, installation: Installation, delivery: Delivery) -> AbstractContextManager[Span]:
    """The span; what is sent within the block carries its context."""
    attributes: Attributes = {
        **spans.about(installation),
        spans.WEBHOOK: delivery.webhook_id,
        spans.RESENT: delivery.attempts - 1,
        HTTP_REQUEST_METHOD: "POST",
        SERVER_ADDRESS: urlsplit(delivery.url).hostname or "",
    }
    return tracing.span("webhook POST", SpanKind.CLIENT, of_text(delivery.trace), attributes)


def concluded(span: Span, outcome: Outcome) -> None:
    """How the attempt went."""
    if outcome.code is not None:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, outcome.code)
    if not outcome.delivered:
        failed(span, str(outcome.code or "not_answered"))
