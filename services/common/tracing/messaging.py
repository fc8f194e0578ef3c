"""The spans of records on Kafka (semantic conventions for messaging). No key is noted: it can hold a customer's id."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from opentelemetry.trace import Span, SpanContext, SpanKind

from services.common.tracing.contexts import of_record, says_unsampled
from services.common.tracing.spans import Tracing

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OFFSET = "messaging.kafka.offset"
GROUP = "messaging.consumer.group.name"
EVENT_ID = "cloudevents.event_id"
EVENT_TYPE = "cloudevents.event_type"

Headers: TypeAlias = Sequence[tuple[str, bytes]] | Sequence[tuple[str, str]]


class Received(Protocol):
    """A record as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes]]


def sending(
    tracing: Tracing, topic: str, headers: Headers, parent: SpanContext | None, links: Sequence[SpanContext] = ()
) -> Span:
    """The span of a record for ``topic`` with these headers: to be ended when the broker has it."""
    about = {SYSTEM: "kafka", OPERATION: "send", OPERATION_TYPE: "send", DESTINATION: topic, **_event(headers)}
    return tracing.start(f"send {topic}", SpanKind.PRODUCER, parent, about, links)


def processing(tracing: Tracing, record: Received, group: str) -> Span | None:
    """The span of a record that is processed: to be ended when all that it caused is durable. None: not sampled."""
    if not tracing.on or (tracing.parent_based and says_unsampled(record.headers)):
        return None
    parent = of_record(record.headers)
    if not tracing.samples(parent):
        return None
    about: dict[str, str | int] = {
        SYSTEM: "kafka",
        OPERATION: "process",
        OPERATION_TYPE: "process",
        DESTINATION: record.topic,
        PARTITION: str(record.partition),
        OFFSET: record.offset,
        GROUP: group,
        **_event(record.headers),
    }
    return tracing.start(f"process {record.topic}", SpanKind.CONSUMER, parent, about)


def _event(headers: Headers) -> dict[str, str]:
    names = {"ce_id": EVENT_ID, "ce_type": EVENT_TYPE}
    found = {names[name]: content for name, content in headers if name in names and content}
    return {name: text if isinstance(text, str) else text.decode(errors="replace") for name, text in found.items()}
