"""What could not be processed is kept, with its headers and the reason, on topic ``outlet.dead-letters``."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import asyncpg
import stamina
import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from opentelemetry.trace import SpanContext

from services.common import outbox
from services.common.events import DomainEvent
from services.common.outbox import Message
from services.common.topics import DEAD_LETTERS
from services.common.tracing import headers_of
from services.runtime.delivery.unit_of_work import InboxKey

log = structlog.get_logger(__name__)

REASON_LENGTH = 2_000
OUTLINE_BYTES = 64 * 1024

Content = TypeVar("Content", str, bytes)

_CLAIM = """
INSERT INTO inbox (installation_id, target, source, id, result) VALUES ($1, $2, $3, $4, 'dead'::bytea)
ON CONFLICT DO NOTHING
"""


class UnreadableRecords:
    """Publishes records that are no readable event. A record is done only once its dead letter is acknowledged."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def publish(self, record: "ConsumerRecord[bytes, bytes]", code: str, reason: str, **facts: str) -> None:
        """Keep ``record`` as it came, with where it came from, why, and ``facts`` as headers ``outlet_<name>``.

        Waits for a broker that is away: nothing is dropped. A record that what is added makes too large for Kafka is
        kept in outline, which ``outlet_omitted`` says; the whole of it stays where it came from.
        """
        added = {
            "code": code,
            "reason": reason[:REASON_LENGTH],
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            **facts,
        }
        own = [(f"outlet_{name}", fact.encode(errors="replace")) for name, fact in added.items()]
        try:
            await self._send(record.key, record.value, [*record.headers, *own])
        except MessageSizeTooLargeError:
            short_key = record.key if len(record.key or b"") <= OUTLINE_BYTES else None
            omitted = ("outlet_omitted", _omission(record.value).encode())
            await self._send(short_key, None, [*_first(list(record.headers)), *own, omitted])
        log.warning("dead letter", **added)

    async def _send(self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        async for attempt in stamina.retry_context(on=_may_pass, attempts=None, timeout=None):
            with attempt:
                await self._producer.send_and_wait(DEAD_LETTERS.name, key=key, value=value, headers=headers)


def letter(
    event: DomainEvent, key: bytes, code: str, reason: str, *, trace: SpanContext | None = None, **facts: str
) -> Message:
    """The dead letter of an event that a plugin has failed for good, under its record ``key``.

    ``trace`` is the attempt that failed.
    """
    headers = [(name, content.decode()) for name, content in event.headers()]
    headers += headers_of(trace).items()
    added = {"code": code, "reason": storable(reason)[:REASON_LENGTH], **facts}
    return Message(DEAD_LETTERS.name, key, event.data, [*headers, *((f"outlet_{name}", added[name]) for name in added)])


async def bury(connection: asyncpg.Connection, key: InboxKey, found: Message) -> bool:
    """End an invocation as the dead letter ``found`` when the caller's transaction commits.

    It takes the inbox row that the invocation's effects would have been committed with, so whoever comes to them
    later (a repetition, a worker back from the dead) finds it and does nothing. False, and nothing is done, where they
    were committed before.
    """
    if await connection.execute(_CLAIM, *key.row()) == "INSERT 0 0":
        return False
    await outbox.add(connection, found)
    return True


def storable(text: str) -> str:
    """As much of it as can be kept: PostgreSQL's text has no NUL, and no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def outline(found: Message) -> Message:
    """A dead letter without its data, which Kafka takes whatever its size was."""
    own = [header for header in found.headers if header[0].startswith("outlet_")]
    rest = _first([header for header in found.headers if not header[0].startswith("outlet_")])
    key = found.key if len(found.key) <= OUTLINE_BYTES else b""
    return replace(found, key=key, value=None, headers=[*rest, *own, ("outlet_omitted", _omission(found.value))])


def _omission(value: bytes | None) -> str:
    return f"value of {len(value or b'')} bytes"


def _may_pass(error: Exception) -> bool:
    return isinstance(error, KafkaError) and not isinstance(error, MessageSizeTooLargeError)


def _first(headers: Sequence[tuple[str, Content]]) -> list[tuple[str, Content]]:
    """The headers that fit into an outline."""
    sizes = accumulate(len(name) + len(content or "") for name, content in headers)
    return [header for header, size in zip(headers, sizes, strict=True) if size <= OUTLINE_BYTES]
