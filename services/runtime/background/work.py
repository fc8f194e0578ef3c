"""Rows of background work and of the clocks of schedules: everything that is SQL about them."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from outlet._rules import jobs as rules
from services.common.outbox import Message
from services.runtime.delivery.dead_letters import bury
from services.runtime.delivery.unit_of_work import InboxKey

MOST_WAITING = rules.MOST_WAITING

TICKS = "urn:outlet:schedules"
JOBS = "urn:outlet:jobs"
_JOB_KEYS = "urn:outlet:job-keys"
_IDS = uuid.UUID("5d2f0a0e-83c8-5b0b-9a0c-0f6d1a1f5d57")  # namespace of the ids of ticks and jobs

_ADD = """
INSERT INTO background_work (id, kind, installation_id, name, store_id, payload, planned_at, due_at, trace)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (id) DO NOTHING
"""
_WAITING = """
SELECT count(*) FROM (SELECT FROM background_work WHERE installation_id = $1 AND kind = 'job' LIMIT $2) AS waiting
"""
_CLAIM_KEY = "INSERT INTO inbox (installation_id, target, source, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
_DUE = "SELECT DISTINCT installation_id FROM background_work WHERE due_at <= $1"
_LEASE = """
UPDATE background_work SET due_at = $3, leased_by = $4
WHERE id IN (
    SELECT id FROM background_work WHERE due_at <= $1 AND installation_id = ANY($2::text[])
    ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
)
RETURNING id, kind, installation_id, name, store_id, payload, planned_at, created_at, attempts, trace
"""
_RENEW = "UPDATE background_work SET due_at = $2 WHERE id = ANY($3::text[]) AND leased_by = $1 RETURNING id"
_TAKE = "DELETE FROM background_work WHERE id = $2 AND leased_by = $1 RETURNING id"
_POSTPONE = """
UPDATE background_work SET due_at = $3, attempts = $4, leased_by = NULL WHERE id = $2 AND leased_by = $1
"""


def tick_id(installation_id: str, schedule: str, planned: datetime) -> str:
    """The same for the same tick, whoever fires it and however often."""
    return str(uuid.uuid5(_IDS, json.dumps(["tick", installation_id, schedule, planned.isoformat()])))


def job_id(*cause: str) -> str:
    """The same for the same cause: a key, or an invocation and the number of the call in it."""
    return str(uuid.uuid5(_IDS, json.dumps(["job", *cause])))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWork:
    """Work to be added. ``planned_at`` is when it was meant to run; ``payload`` is a value as API calls carry it."""

    id: str
    kind: Literal["schedule", "job"]
    installation_id: str
    name: str
    store_id: str | None
    payload: bytes
    planned_at: datetime
    trace: str | None = None
    """What the spans of its attempts are children of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(NewWork):
    """Work that this worker has leased. ``attempts`` counts those that the plugin failed."""

    created_at: datetime
    attempts: int


async def add(connection: asyncpg.Connection, *added: NewWork) -> None:
    """Add work to the caller's transaction, but for what waits already."""
    await connection.executemany(
        _ADD,
        [
            (
                *(work.id, work.kind, work.installation_id, work.name, work.store_id),
                *(work.payload, work.planned_at, work.trace),
            )
            for work in added
        ],
    )


async def claim_key(connection: asyncpg.Connection, installation_id: str, name: str, key: str) -> bool:
    """Take a job's key for this transaction and for ever. False when a committed transaction took it before."""
    return bool(await connection.execute(_CLAIM_KEY, installation_id, name, _JOB_KEYS, key) == "INSERT 0 1")


async def is_full(connection: asyncpg.Connection, installation_id: str) -> bool:
    """Whether as many jobs of the installation wait as may; jobs that are being added elsewhere are not seen."""
    return bool(await connection.fetchval(_WAITING, installation_id, MOST_WAITING) == MOST_WAITING)


async def remove_all(connection: asyncpg.Connection, installation_id: str) -> None:
    """Remove the work and the clocks of an installation, in the caller's transaction."""
    await connection.execute("DELETE FROM background_work WHERE installation_id = $1", installation_id)
    await connection.execute("DELETE FROM schedule_clock WHERE installation_id = $1", installation_id)


class WorkQueue:
    """Leases due work to one worker. A lease that is not renewed ends, and the work is due for anybody again.

    ``holder`` is unique to the process: a lease is held by who holds it now, not by who bears the same name.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", holder: str) -> None:
        self._pool = pool
        self._holder = holder

    async def due(self, now: datetime) -> set[str]:
        """The installations that have work to do."""
        return {row["installation_id"] for row in await self._pool.fetch(_DUE, now)}

    async def lease(self, installations: Iterable[str], now: datetime, until: datetime, limit: int) -> list[Work]:
        """At most ``limit`` pieces of work of these installations, those that are due longest."""
        rows = await self._pool.fetch(_LEASE, now, list(installations), until, self._holder, limit)
        return [Work(**row) for row in sorted(rows, key=lambda row: row["planned_at"])]

    async def renew(self, ids: Sequence[str], until: datetime) -> set[str]:
        """Keep leases until ``until``; the ids of those that were still held."""
        return {row["id"] for row in await self._pool.fetch(_RENEW, self._holder, until, ids)}

    async def postpone(self, work: Work, until: datetime, attempts: int) -> None:
        """Give work back, to be due at ``until``, unless its lease was lost."""
        await self._pool.execute(_POSTPONE, self._holder, work.id, until, attempts)

    async def done(self, work: Work) -> None:
        """Forget work that was done, or kept elsewhere."""
        await self._pool.execute("DELETE FROM background_work WHERE id = $1", work.id)

    async def bury(self, work: Work, key: InboxKey, found: Message) -> bool:
        """The last attempt failed: publish the dead letter ``found`` and forget the work.

        False when the lease was lost, or another worker had committed the work's effects.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetch(_TAKE, self._holder, work.id):
                return False
            return await bury(connection, key, found)
