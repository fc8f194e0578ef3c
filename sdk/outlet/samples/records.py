"""POS documents as Kafka records: CloudEvents 1.0 in the binary mode of the Kafka protocol binding.

The attributes are headers prefixed ``ce_``, the value is the entity as JSON, and the key is
``organization/store/entity id``, so that one entity's events stay in order.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaProducer

Entity = Literal["sale", "product", "customer", "employee", "store"]
Action = Literal["created", "updated", "deleted"]


@dataclass(frozen=True)
class Record:
    """One record, ready to be sent."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def id(self) -> str:
        """The event's id (``ce_id``)."""
        return dict(self.headers)["ce_id"].decode()


@dataclass(frozen=True)
class Position:
    """Where the broker put a record."""

    topic: str
    partition: int
    offset: int


def record(
    entity: Entity,
    document: Mapping[str, Any],
    *,
    organization: str,
    store: str | None = None,
    action: Action = "created",
) -> Record:
    """The event that ``document`` (with a string ``id``) was created, updated or deleted.

    ``store`` defaults to the document's ``storeId``. The event's id follows from its content: making the same record
    again is a redelivery, not a new event.
    """
    place = store or document["storeId"]
    key = f"{organization}/{place}/{document['id']}"
    value = msgspec.json.encode(document)
    event_type = f"{entity}.{action}"
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{event_type} {key} {value.decode()}")),
        "ce_source": f"/organizations/{organization}/stores/{place}/pos",
        "ce_type": event_type,
        "ce_time": document.get("createdAt") or datetime.now(UTC).isoformat(),
        "ce_organization": organization,
        "ce_store": place,
        "content-type": "application/json",
    }
    headers = tuple((name, text.encode()) for name, text in attributes.items())
    return Record(topic=f"outlet.events.{entity}", key=key.encode(), value=value, headers=headers)


async def publish(bootstrap: str, records: Iterable[Record]) -> list[Position]:
    """Send the records in order and return where they are, once every in-sync replica has all of them.

    Raises :class:`aiokafka.errors.KafkaError` when the broker refuses one or cannot be reached.
    """
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5) as producer:
        sent = [
            await producer.send(item.topic, item.value, key=item.key, headers=list(item.headers)) for item in records
        ]
        placed = [await delivery for delivery in sent]
    return [Position(item.topic, item.partition, item.offset) for item in placed]
