"""The rows of the attempt ledger: everything that is SQL about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg
import msgspec

from services.common.events import DomainEvent
from services.common.outbox import Message
from services.runtime.delivery.dead_letters import bury
from services.runtime.delivery.unit_of_work import InboxKey

OrderedKey: TypeAlias = tuple[str, bytes]
"""An installation and a record key."""

_ADD = """
INSERT INTO attempt_ledger (installation_id, target, source, event_id, organization_id, store_id, plugin_id,
    version, record_key, event, ordered, state, attempts, most_attempts, due_at, code, message, stack, failed_at, alone,
    position, trace, finished_at)
SELECT a.*, CASE WHEN a.state = 'dead' THEN a.failed_at END
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bytea[], $10::bytea[], $11::bool[], $12::text[], $13::int[], $14::int[], $15::timestamptz[], $16::text[],
    $17::text[], $18::text[], $19::timestamptz[], $20::bool[], $21::text[], $22::text[])
    AS a (installation_id, target, source, event_id, organization_id, store_id, plugin_id, version, record_key, event,
    ordered, state, attempts, most_attempts, due_at, code, message, stack, failed_at, alone, position, trace)
ON CONFLICT ON CONSTRAINT attempt_ledger_once DO NOTHING
RETURNING id
"""
_KNOWN = """
SELECT installation_id, target, source, event_id FROM attempt_ledger
JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (installation_id, target, source, event_id)
USING (installation_id, target, source, event_id)
"""
_BLOCKED = """
SELECT DISTINCT installation_id, record_key FROM attempt_ledger
JOIN unnest($1::text[], $2::bytea[]) AS asked (installation_id, record_key) USING (installation_id, record_key)
WHERE state = 'waiting' AND ordered
"""
# From installation to installation by the index: a DISTINCT would read every entry of a backlog, four times a second.
_DUE = """
WITH RECURSIVE found AS (
    (SELECT installation_id, due_at FROM attempt_ledger WHERE state = 'waiting'
     ORDER BY installation_id, due_at LIMIT 1)
    UNION ALL
    SELECT next.installation_id, next.due_at FROM found, LATERAL (
        SELECT installation_id, due_at FROM attempt_ledger
        WHERE state = 'waiting' AND installation_id > found.installation_id
        ORDER BY installation_id, due_at LIMIT 1) AS next
)
SELECT installation_id FROM found WHERE due_at <= $1
"""
_LEASE = """
UPDATE attempt_ledger SET due_at = $3, leased_by = $4, attempts = attempts + 1
WHERE id IN (
    SELECT id FROM attempt_ledger AS a
    WHERE state = 'waiting' AND due_at <= $1 AND installation_id = ANY($2::text[]) AND attempts < most_attempts
      AND NOT (ordered AND EXISTS (
          SELECT FROM attempt_ledger AS earlier
          WHERE earlier.state = 'waiting' AND earlier.ordered AND earlier.installation_id = a.installation_id
            AND earlier.record_key = a.record_key AND earlier.id < a.id))
    ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
)
RETURNING id, installation_id, record_key, event, position, alone, attempts, most_attempts, trace
"""
_EXHAUSTED = """
UPDATE attempt_ledger SET due_at = $2, leased_by = $3
WHERE id IN (
    SELECT id FROM attempt_ledger WHERE state = 'waiting' AND due_at <= $1 AND attempts >= most_attempts
    ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED
)
RETURNING id, installation_id, record_key, event, position, alone, attempts, most_attempts, trace
"""
_RENEW = "UPDATE attempt_ledger SET due_at = $2 WHERE id = ANY($3::bigint[]) AND leased_by = $1 RETURNING id"
_SUCCEEDED = """
UPDATE attempt_ledger SET state = 'succeeded', finished_at = $2, leased_by = NULL
WHERE id = ANY($1::bigint[]) AND state = 'waiting'
"""
_FAILED = """
UPDATE attempt_ledger
SET state = $3::text, due_at = $4, code = $5, message = $6, stack = $7, failed_at = $8, version = $9, leased_by = NULL,
    ordered = $10, alone = false, finished_at = CASE WHEN $3::text = 'dead' THEN $8::timestamptz END
WHERE id = $1 AND leased_by = $2 AND state = 'waiting'
RETURNING id
"""
_SUCCEEDED_ELSEWHERE = "UPDATE attempt_ledger SET state = 'succeeded' WHERE id = $1"
_GIVE_BACK = """
UPDATE attempt_ledger SET due_at = $3, leased_by = NULL, attempts = attempts - 1, alone = alone OR $4
WHERE id = ANY($1::bigint[]) AND leased_by = $2 AND state = 'waiting'
"""


_IN_TURN = """
WITH RECURSIVE found AS (
    (SELECT installation_id FROM attempt_ledger WHERE state = 'waiting' AND ordered ORDER BY installation_id LIMIT 1)
    UNION ALL
    SELECT next.installation_id FROM found, LATERAL (
        SELECT installation_id FROM attempt_ledger
        WHERE state = 'waiting' AND ordered AND installation_id > found.installation_id
        ORDER BY installation_id LIMIT 1) AS next
)
SELECT installation_id FROM found
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What an attempt failed with, and when."""

    code: str
    message: str
    stack: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An event to be kept: after ``attempts`` that failed, the last with ``failure``; or, without any, for its turn.

    ``dead``: it is not tried again. ``alone``: it has the guest for itself then.
    ``trace``: what the spans of its attempts are children of.
    """

    key: InboxKey
    event: DomainEvent
    plugin_id: str
    version: str
    record_key: bytes
    position: str
    ordered: bool
    attempts: int
    most_attempts: int
    due_at: datetime
    failure: Failure | None = None
    dead: bool = False
    alone: bool = False
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class LeasedEntry:
    """An event that this worker is to try. ``attempts`` counts this one already."""

    id: int
    installation_id: str
    record_key: bytes
    event: DomainEvent
    position: str
    alone: bool
    attempts: int
    most_attempts: int
    trace: str | None = None

    @property
    def key(self) -> InboxKey:
        return InboxKey(self.installation_id, self.event.type, self.event.source, self.event.id)


class Ledger:
    """Leases entries to one worker, whose ``holder`` is unique to the process."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", holder: str) -> None:
        self._pool = pool
        self._holder = holder

    async def add(self, entries: Sequence[NewEntry]) -> None:
        """Keep entries, in this order; those that are known stay as they are."""
        if entries:
            await self._pool.execute(_ADD, *_columns(entries))

    async def known(self, keys: Sequence[InboxKey]) -> set[InboxKey]:
        """Which of ``keys`` are in the ledger, whatever became of them: they are its business alone."""
        if not keys:
            return set()
        rows = await self._pool.fetch(_KNOWN, *zip(*(key.row() for key in keys), strict=True))
        return {InboxKey(*row) for row in rows}

    async def blocked(self, keys: Iterable[OrderedKey]) -> set[OrderedKey]:
        """For which of ``keys`` an earlier event waits that later ones must not overtake."""
        asked = list(keys)
        if not asked:
            return set()
        rows = await self._pool.fetch(_BLOCKED, [key[0] for key in asked], [key[1] for key in asked])
        return {(row["installation_id"], row["record_key"]) for row in rows}

    async def due(self, now: datetime) -> set[str]:
        """The installations that have something to try."""
        return {row["installation_id"] for row in await self._pool.fetch(_DUE, now)}

    async def lease(
        self, installations: Iterable[str], now: datetime, until: datetime, limit: int
    ) -> list[LeasedEntry]:
        """At most ``limit`` entries of these installations, those first that are due longest."""
        return _leased(await self._pool.fetch(_LEASE, now, list(installations), until, self._holder, limit))

    async def lease_exhausted(self, now: datetime, until: datetime, limit: int) -> list[LeasedEntry]:
        """Entries whose last attempt was begun by a worker that did not come back."""
        return _leased(await self._pool.fetch(_EXHAUSTED, now, until, self._holder, limit))

    async def renew(self, ids: Sequence[int], until: datetime) -> set[int]:
        """Keep leases until ``until``; the ids of those that were still held."""
        return {row["id"] for row in await self._pool.fetch(_RENEW, self._holder, until, ids)}

    async def succeeded(self, ids: Sequence[int], now: datetime) -> None:
        """Their effects are committed."""
        await self._pool.execute(_SUCCEEDED, ids, now)

    async def failed(
        self, entry: LeasedEntry, version: str, failure: Failure, due_at: datetime, *, ordered: bool
    ) -> None:
        """An attempt failed: another at ``due_at``. Nothing happens when the lease was lost."""
        await self._pool.execute(_FAILED, *self._outcome(entry, "waiting", version, failure, due_at, ordered=ordered))

    async def bury(self, entry: LeasedEntry, version: str, failure: Failure, letter: Message) -> bool:
        """The last attempt failed: publish the event's dead letter, and take its inbox row.

        False when the lease was lost, or another worker had committed the event's effects: then it has succeeded.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            dead = self._outcome(entry, "dead", version, failure, failure.at, ordered=False)
            if not await connection.fetch(_FAILED, *dead):
                return False
            return await self._bury(connection, entry.id, entry.key, letter)

    async def bury_new(self, entry: NewEntry, letter: Message) -> bool:
        """The only attempt failed: add the event as a dead letter, as :meth:`bury` does.

        False when it is known, or its effects were committed.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            added: int | None = await connection.fetchval(_ADD, *_columns([entry]))
            return added is not None and await self._bury(connection, added, entry.key, letter)

    async def _bury(self, connection: asyncpg.Connection, entry_id: int, key: InboxKey, letter: Message) -> bool:
        buried = await bury(connection, key, letter)
        if not buried:
            await connection.execute(_SUCCEEDED_ELSEWHERE, entry_id)
        return buried

    def _outcome(
        self, entry: LeasedEntry, state: str, version: str, failure: Failure, due_at: datetime, *, ordered: bool
    ) -> tuple[object, ...]:
        found = (failure.code, failure.message, failure.stack, failure.at)
        return entry.id, self._holder, state, due_at, *found, version, ordered

    async def give_back(self, ids: Sequence[int], now: datetime, *, alone: bool = False) -> None:
        """They were not tried after all, or nobody can say what their attempt came to: then the next is ``alone``."""
        await self._pool.execute(_GIVE_BACK, ids, self._holder, now, alone)

    async def in_turn(self) -> set[str]:
        """The installations with entries that later events must not overtake."""
        return {row["installation_id"] for row in await self._pool.fetch(_IN_TURN)}


async def discard(connection: asyncpg.Connection, installation_id: str) -> None:
    """Run no waiting entry of an installation any more, in the caller's transaction."""
    await connection.execute(
        "UPDATE attempt_ledger SET state = 'discarded', finished_at = now(), leased_by = NULL "
        "WHERE installation_id = $1 AND state = 'waiting'",
        installation_id,
    )


async def forget(connection: asyncpg.Connection, installation_id: str) -> None:
    """Remove all entries of an installation, in the caller's transaction."""
    await connection.execute("DELETE FROM attempt_ledger WHERE installation_id = $1", installation_id)


def _row(entry: NewEntry) -> tuple[object, ...]:
    failure, event = entry.failure, entry.event
    return (
        *entry.key.row(),
        event.organization,
        event.store,
        entry.plugin_id,
        entry.version,
        entry.record_key,
        msgspec.msgpack.encode(event),
        entry.ordered,
        "dead" if entry.dead else "waiting",
        entry.attempts,
        entry.most_attempts,
        entry.due_at,
        *((failure.code, failure.message, failure.stack, failure.at) if failure else (None,) * 4),
        entry.alone,
        entry.position,
        entry.trace,
    )


def _columns(entries: Sequence[NewEntry]) -> list[list[object]]:
    return [list(column) for column in zip(*map(_row, entries), strict=True)]


def _leased(rows: Sequence[asyncpg.Record]) -> list[LeasedEntry]:
    entries = (LeasedEntry(**{**row, "event": msgspec.msgpack.decode(row["event"], type=DomainEvent)}) for row in rows)
    return sorted(entries, key=lambda entry: entry.id)
