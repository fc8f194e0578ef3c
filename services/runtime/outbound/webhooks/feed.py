"""From an event to the deliveries that it owes: one row per webhook and event, however often the event comes."""

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

import asyncpg
import msgspec
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Installation
from services.common.events import DomainEvent
from services.runtime.isolation import act_as_platform

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 1.0

Owed: TypeAlias = tuple[Installation, DomainEvent, str | None]
"""To whom what is owed, and the trace that caused it."""

_REGISTERED = "SELECT DISTINCT installation_id, event FROM webhook WHERE disabled_at IS NULL"
_OWE = """
INSERT INTO webhook_delivery (id, webhook_id, installation_id, source, event_id, event, payload, trace, due_at)
SELECT 'msg_' || left(encode(sha256(convert_to(w.id || E'\\n' || e.source || E'\\n' || e.id, 'UTF8')), 'hex'), 40),
       w.id, w.installation_id, e.source, e.id, e.event, e.payload, e.trace, clock_timestamp()
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[])
     AS e (installation_id, event, source, id, payload, trace)
JOIN webhook w ON w.installation_id = e.installation_id AND w.event = e.event AND w.disabled_at IS NULL
ON CONFLICT DO NOTHING
"""


class _Payload(msgspec.Struct):
    """What a receiver gets: the members that Standard Webhooks names, and what identifies the event."""

    type: str
    timestamp: str
    id: str
    source: str
    organization: str
    store: str
    data: msgspec.Raw


class WebhookFeed:
    """Knows which installations have webhooks for which events, as of about a second ago: others cost nothing."""

    def __init__(self) -> None:
        self._wanted: frozenset[tuple[str, str]] = frozenset()
        self._events: frozenset[str] = frozenset()

    def expect(self, installation_id: str, event: str) -> None:
        """A webhook is being registered: its events may come before the next look."""
        self._know(self._wanted | {(installation_id, event)})

    def wants_any(self, event: str) -> bool:
        """Whether anybody has a webhook for this type of event."""
        return event in self._events

    def wants(self, installation_id: str, event: str) -> bool:
        """Whether an installation has one."""
        return (installation_id, event) in self._wanted

    async def refresh(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Look again."""
        async with pool.acquire() as connection, connection.transaction():
            await act_as_platform(connection)
            rows = await connection.fetch(_REGISTERED)
        self._know(frozenset((row["installation_id"], row["event"]) for row in rows))

    async def run(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Look again every second, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh(pool)
            except DATABASE_ERRORS as error:
                log.warning("webhooks not read, trying again", error=repr(error))

    async def consume(self, pool: "asyncpg.Pool[asyncpg.Record]", owed: Iterable[Owed]) -> None:
        """Owe what was consumed, in a transaction of its own."""
        due = list(owed)
        if not due:
            return
        async with pool.acquire() as connection, connection.transaction():
            await act_as_platform(connection)
            await owe(connection, due)

    def _know(self, wanted: frozenset[tuple[str, str]]) -> None:
        self._wanted = wanted
        self._events = frozenset(event for _, event in wanted)


async def owe(connection: asyncpg.Connection, owed: Iterable[Owed]) -> None:
    """Write the deliveries of events, for each webhook that is registered for them. A repetition writes nothing."""
    rows = [
        (installation.id, event.type, event.source, event.id, payload, trace)
        for installation, event, trace in owed
        if (payload := _payload(event)) is not None
    ]
    if rows:
        await connection.execute(_OWE, *map(list, zip(*rows, strict=True)))


def store_of(payload: bytes) -> str:
    """The store that what a receiver gets is about."""
    return msgspec.json.decode(payload, type=_Payload).store


def _payload(event: DomainEvent) -> bytes | None:
    try:
        msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return None  # a hook is told that the event is invalid; a receiver could do nothing about it
    return msgspec.json.encode(
        _Payload(
            event.type, event.time, event.id, event.source, event.organization, event.store, msgspec.Raw(event.data)
        )
    )
