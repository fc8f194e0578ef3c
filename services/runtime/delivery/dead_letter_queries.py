"""Dead letters are entries of the attempt ledger that are not tried again: all that is SQL about them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from services.common.dead_letters import DeadLetter, ReplayProgress, Selection, Taken
from services.common.events import DomainEvent

BATCH = 500
"""Rows that one statement changes."""
MOST_AT_ONCE = 50_000
"""Letters that one request takes."""

_MATCHES = """
state = 'dead' AND organization_id = $1 AND ($2::text IS NULL OR store_id = $2)
AND ($3::text IS NULL OR plugin_id = $3) AND ($4::text IS NULL OR version = $4)
AND ($5::text IS NULL OR installation_id = $5) AND ($6::text IS NULL OR target = $6)
AND ($7::text IS NULL OR code = $7) AND ($8::text IS NULL OR strpos(lower(message), lower($8)) > 0)
AND ($9::timestamptz IS NULL OR failed_at >= $9) AND ($10::timestamptz IS NULL OR failed_at < $10)
AND ($11::bigint[] IS NULL OR id = ANY($11))
"""
_COLUMNS = (
    "id, installation_id, plugin_id, version, store_id, target AS event_type, source AS event_source, event_id, "
    "attempts, code, message, failed_at, replay_id"
)
_LIST = f"""
SELECT {_COLUMNS} FROM attempt_ledger WHERE {_MATCHES} AND ($12::bigint IS NULL OR id < $12) ORDER BY id DESC LIMIT $13
"""  # noqa: S608  constants
_GET = f"SELECT {_COLUMNS}, event, stack FROM attempt_ledger WHERE {_MATCHES}"  # noqa: S608
_COUNT = f"""
SELECT count(*) FILTER (WHERE installation_id = ANY($12)) AS here, count(*) AS total FROM attempt_ledger
WHERE {_MATCHES} AND ($13::text IS NULL OR replay_id IS DISTINCT FROM $13)
"""  # noqa: S608
_COUNT_ALL = f"SELECT count(*) FROM attempt_ledger WHERE {_MATCHES}"  # noqa: S608
# With the inbox row that made it a dead letter; one of another kind is of effects that were committed all the same.
_REPLAY = f"""
WITH taken AS MATERIALIZED (
    SELECT id, installation_id, target, source, event_id FROM attempt_ledger
    WHERE {_MATCHES} AND installation_id = ANY($12) AND replay_id IS DISTINCT FROM $13 AND id > $15
    ORDER BY id LIMIT $16 FOR UPDATE
), freed AS (
    DELETE FROM inbox AS i USING taken AS t
    WHERE i.installation_id = t.installation_id AND i.target = t.target AND i.source = t.source AND i.id = t.event_id
        AND i.result = 'dead'::bytea
)
UPDATE attempt_ledger AS l
SET state = 'waiting', finished_at = NULL, attempts = 0, due_at = $14, leased_by = NULL, replay_id = $13
FROM taken WHERE l.id = taken.id
RETURNING l.id
"""  # noqa: S608
_DISCARD = f"""
UPDATE attempt_ledger SET state = 'discarded', finished_at = $12
WHERE id IN (SELECT id FROM attempt_ledger WHERE {_MATCHES} AND id > $13 ORDER BY id LIMIT $14 FOR UPDATE)
RETURNING id
"""  # noqa: S608
_PROGRESS = """
SELECT count(*) AS total, count(*) FILTER (WHERE state = 'waiting') AS waiting,
    count(*) FILTER (WHERE state = 'succeeded') AS succeeded, count(*) FILTER (WHERE state = 'dead') AS dead,
    count(*) FILTER (WHERE state = 'discarded') AS discarded
FROM attempt_ledger WHERE organization_id = $1 AND ($2::text IS NULL OR store_id = $2) AND replay_id = $3
"""


class DeadLetterQueries:
    """Every question is about one organization, and cannot reach the letters of another whatever it names."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._now = now

    async def list(self, wanted: Selection, limit: int, before: int | None = None) -> list[DeadLetter]:
        """The newest first; ``before`` is the id that the page before ended with."""
        return [DeadLetter(**row) for row in await self._pool.fetch(_LIST, *_row(wanted), before, limit)]

    async def get(self, wanted: Selection) -> tuple[DeadLetter, DomainEvent, str] | None:
        """The one letter, its whole event, and the stack of its failure."""
        row = await self._pool.fetchrow(_GET, *_row(wanted))
        if row is None:
            return None
        facts: dict[str, Any] = dict(row)
        event = msgspec.msgpack.decode(facts.pop("event"), type=DomainEvent)
        stack = facts.pop("stack") or ""
        return DeadLetter(**facts), event, stack

    async def count(self, wanted: Selection, installations: Sequence[str], replay_id: str | None = None) -> Taken:
        """What a replay would take; what is in the replay ``replay_id`` already is not counted."""
        row = await self._pool.fetchrow(_COUNT, *_row(wanted), installations, replay_id)
        here = min(row["here"], MOST_AT_ONCE)
        return Taken(total=here, left=row["here"] - here, gone=row["total"] - row["here"])

    async def replay(self, wanted: Selection, installations: Sequence[str], replay_id: str) -> Taken:
        """Have the letters of ``installations`` tried again from now on, each as often as it was at first.

        The same ``replay_id`` again goes on where it was: no letter is replayed twice in one.
        """
        taken = await self._take(_REPLAY, *_row(wanted), installations, replay_id, self._now())
        rest = await self.count(wanted, installations, replay_id)
        return Taken(total=taken, left=rest.total + rest.left, gone=rest.gone)

    async def count_all(self, wanted: Selection) -> Taken:
        """What a discard would take."""
        total = await self._pool.fetchval(_COUNT_ALL, *_row(wanted))
        taken = min(total, MOST_AT_ONCE)
        return Taken(total=taken, left=total - taken)

    async def discard(self, wanted: Selection) -> Taken:
        """Give letters up, also those of installations that are gone."""
        taken = await self._take(_DISCARD, *_row(wanted), self._now())
        return Taken(total=taken, left=await self._pool.fetchval(_COUNT_ALL, *_row(wanted)))

    async def progress(self, organization: str, store: str | None, replay_id: str) -> ReplayProgress:
        """What became of a replay's letters in the organization, or in one store of it."""
        return ReplayProgress(**await self._pool.fetchrow(_PROGRESS, organization, store, replay_id))

    async def _take(self, statement: str, *arguments: object) -> int:
        """Batch by batch in the order of ids, each a transaction: a letter that comes back is not met again."""
        taken, after = 0, 0
        while taken < MOST_AT_ONCE:
            ids = [row["id"] for row in await self._pool.fetch(statement, *arguments, after, BATCH)]
            taken += len(ids)
            if len(ids) < BATCH:
                break
            after = max(ids)
        return taken


def _row(wanted: Selection) -> tuple[object, ...]:
    return (
        wanted.organization,
        wanted.store,
        wanted.plugin_id,
        wanted.version,
        wanted.installation_id,
        wanted.event_type,
        wanted.code,
        wanted.message_part,
        wanted.since,
        wanted.until,
        None if wanted.ids is None else list(wanted.ids),
    )
