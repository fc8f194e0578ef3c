"""The transactional outbox: a message is a row of the transaction that decided it, and is published afterwards.

Delivery is at least once and in order of the rows' ids; consumers recognise a repetition by event id or revision.
(Pattern: https://microservices.io/patterns/data/transactional-outbox.html)
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from opentelemetry.trace import Span
from sqlalchemy import BigInteger, Column, DateTime, Identity, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB

from services.common.database import DATABASE_ERRORS
from services.common.topics import CATALOGUE
from services.common.tracing import OFF, Tracing, failed, headers_of, of_headers
from services.common.tracing.contexts import PARENT, STATE
from services.common.tracing.messaging import sending

log = structlog.get_logger(__name__)

RELAY_LOCK = 7_001  # advisory lock: one relay publishes at a time, so that order holds
BATCH = 500
POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0

_FIXED_PARTITION = {topic.name: 0 for topic in CATALOGUE if topic.partitions == 1}


def outbox_table(metadata: MetaData) -> Table:
    """The outbox table, to be declared in each owning service's metadata."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("raw_key", LargeBinary, nullable=True),  # in place of `key`, when the key need not be text
        Column("value", LargeBinary, nullable=True),
        Column("headers", JSONB, nullable=False, server_default="{}"),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


INSERT = "INSERT INTO outbox (topic, key, value, headers) VALUES ($1, $2, $3, $4::jsonb)"
"""For asyncpg: topic, key, value (None is a tombstone), headers as JSON text."""
_ADD = "INSERT INTO outbox (topic, key, raw_key, value, headers) VALUES ($1, '', $2, $3, $4::jsonb)"
_NEXT = """
SELECT id, topic, coalesce(raw_key, convert_to(key, 'UTF8')) AS key, value, headers FROM outbox ORDER BY id LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A record of Kafka that is to be."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, str]]


Outline: TypeAlias = Callable[[Message], Message]
"""What is published of a message that is too large for the broker."""


async def add(connection: asyncpg.Connection, message: Message) -> None:
    """Publish ``message`` when the caller's transaction commits."""
    await connection.execute(_ADD, message.topic, message.key, message.value, json.dumps(dict(message.headers)))


class OutboxRelay:
    """Moves rows to Kafka and deletes them once the broker has acknowledged them.

    Without an ``outline``, a message that is too large for the broker stays, and holds up what comes after it. One with
    a trace context among its headers is sent as part of that trace.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        producer: AIOKafkaProducer,
        outline: Outline | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._pool = pool
        self._producer = producer
        self._outline = outline
        self._tracing = tracing
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something to publish; without it the relay looks every 0.2 s."""
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled; a database or broker that is away delays, and loses nothing."""
        while True:
            self._wake.clear()
            try:
                published = await self.publish()
            except (KafkaError, *DATABASE_ERRORS) as error:
                log.warning("outbox not published, trying again", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if published < BATCH:
                await self._woken_or_due()

    async def publish(self) -> int:
        """Publish one batch; the number of rows, 0 when there are none or another relay is at work."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", RELAY_LOCK):
                return 0
            rows = await connection.fetch(_NEXT, BATCH)
            if rows:
                await self._send(rows)
                await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in rows])
            return len(rows)

    async def _send(self, rows: "list[asyncpg.Record]") -> None:
        messages = [
            Message(row["topic"], row["key"], row["value"], tuple(json.loads(row["headers"]).items())) for row in rows
        ]
        if not self._tracing.on:
            await self._publish(messages)
            return
        spans: list[Span] = []
        try:
            await self._publish([self._traced(message, spans) for message in messages])
        except BaseException as error:
            for span in spans:  # which of them did arrive, nobody knows: all rows are sent again
                failed(span, error)
            raise
        finally:
            for span in spans:
                span.end()

    async def _publish(self, messages: Sequence[Message]) -> None:
        try:
            for acknowledgement in [await self._begin(message) for message in messages]:
                await acknowledgement
        except MessageSizeTooLargeError:
            if self._outline is None:
                raise
            for message in messages:  # which one it was, a broker that refuses them together does not say
                await self._send_alone(message, self._outline)

    def _traced(self, message: Message, spans: list[Span]) -> Message:
        headers = dict(message.headers)
        if PARENT not in headers:
            return message
        parent = of_headers(headers)
        span = sending(self._tracing, message.topic, message.headers, parent)
        spans.append(span)
        rest = [(name, content) for name, content in message.headers if name not in (PARENT, STATE)]
        return replace(message, headers=[*rest, *headers_of(span.get_span_context()).items()])

    async def _send_alone(self, message: Message, outline: Outline) -> None:
        try:
            await (await self._begin(message))
        except MessageSizeTooLargeError:
            await (await self._begin(outline(message)))

    async def _begin(self, message: Message) -> Awaitable[object]:
        sent: Awaitable[object] = await self._producer.send(
            message.topic,
            key=message.key,
            value=message.value,
            headers=[(name, content.encode()) for name, content in message.headers],
            partition=_FIXED_PARTITION.get(message.topic),
        )
        return sent

    async def _woken_or_due(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return
