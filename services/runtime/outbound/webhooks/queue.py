"""Deliveries that are due, taken by one worker at a time, and what becomes of them.

Taking a delivery moves its due time by a lease, so that no transaction is open while it is sent: a worker that dies
leaves it to another one. What a worker reports counts only while the attempt it made is the latest.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from services.runtime.isolation import act_as_platform
from services.runtime.outbound.webhooks.retries import FAILING_DAYS, GONE, GONE_TIMES, break_after, pause_after

LEASE = timedelta(seconds=30)
KEPT = timedelta(days=30)
"""How long the log keeps deliveries that have ended."""

_TAKE = """
WITH taken AS (
    SELECT due.id FROM webhook w
    CROSS JOIN LATERAL (
        SELECT d.id FROM webhook_delivery d
        WHERE d.webhook_id = w.id AND d.status = 'pending' AND d.due_at <= clock_timestamp()
        ORDER BY d.due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE w.disabled_at IS NULL AND coalesce(w.paused_until <= clock_timestamp(), true) AND w.id <> ALL ($3::text[])
    LIMIT $1
)
UPDATE webhook_delivery d SET attempts = attempts + 1, due_at = clock_timestamp() + $4
FROM taken, webhook w WHERE d.id = taken.id AND w.id = d.webhook_id
RETURNING d.id, d.webhook_id, d.installation_id, d.payload, d.attempts, d.trace, w.url, w.secret,
          CASE WHEN w.previous_until > clock_timestamp() THEN w.previous_secret END AS previous_secret
"""
_RELEASE = """
UPDATE webhook_delivery SET attempts = attempts - 1, due_at = clock_timestamp() + $3
WHERE id = $1 AND attempts = $2 AND status = 'pending'
"""
# Before the delivery, as removing does it: attempts that end together would otherwise wait for each other in a circle.
_HOLD = "SELECT 1 FROM webhook WHERE id = $1 FOR NO KEY UPDATE"
_ATTEMPTED = """
UPDATE webhook_delivery SET status = $3::text, response_code = $4, response_excerpt = $5, error = $6,
    due_at = CASE WHEN $3::text = 'pending' THEN clock_timestamp() + $7 ELSE due_at END,
    finished_at = CASE WHEN $3::text <> 'pending' THEN clock_timestamp() END
WHERE id = $1 AND attempts = $2 AND status = 'pending'
"""
_WELL = """
UPDATE webhook SET failures = 0, gone = 0, failing_since = NULL, paused_until = NULL WHERE id = $1 AND failures > 0
"""
_BADLY = """
UPDATE webhook SET failures = failures + 1, failing_since = coalesce(failing_since, clock_timestamp()),
    gone = CASE WHEN $2 THEN gone + 1 ELSE 0 END
WHERE id = $1 AND disabled_at IS NULL
RETURNING failures, gone, failing_since < clock_timestamp() - make_interval(days => $3) AS too_long
"""
_PAUSE = "UPDATE webhook SET paused_until = clock_timestamp() + $2 WHERE id = $1"
_DISABLE = "UPDATE webhook SET disabled_at = clock_timestamp(), disabled_reason = $2 WHERE id = $1"
_ABANDON = """
UPDATE webhook_delivery SET status = 'failed', finished_at = clock_timestamp(),
    error = coalesce(error || '; ', '') || 'the webhook was disabled'
WHERE webhook_id = $1 AND status = 'pending'
"""
_SWEEP = "DELETE FROM webhook_delivery WHERE finished_at < clock_timestamp() - $1::interval"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to be made: the ``attempts``-th. ``keys`` sign it, the newest first."""

    id: str
    webhook_id: str
    installation_id: str
    url: str
    payload: bytes
    attempts: int
    keys: tuple[str, ...]
    trace: str | None = None
    """What the attempt's span is a child of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: the receiver's status and the beginning of its answer, or why there was none."""

    code: int | None = None
    excerpt: str | None = None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.code is not None and 200 <= self.code <= 299


class DeliveryQueue:
    """The deliveries of all installations, for the platform."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def take(self, most: int, per_webhook: int, busy: Collection[str]) -> list[Delivery]:
        """At most ``most`` due deliveries, ``per_webhook`` of each webhook and none of ``busy`` ones."""
        async with self._platform() as connection:
            rows = await connection.fetch(_TAKE, most, per_webhook, list(busy), LEASE)
        return [
            Delivery(
                id=row["id"],
                webhook_id=row["webhook_id"],
                installation_id=row["installation_id"],
                url=row["url"],
                payload=row["payload"],
                attempts=row["attempts"],
                keys=tuple(key for key in (row["secret"], row["previous_secret"]) if key),
                trace=row["trace"],
            )
            for row in rows
        ]

    async def release(self, delivery: Delivery, pause: timedelta) -> None:
        """Give a delivery back without an attempt having been made."""
        async with self._platform() as connection:
            await connection.execute(_RELEASE, delivery.id, delivery.attempts, pause)

    async def attempted(self, delivery: Delivery, outcome: Outcome) -> str | None:
        """Record an attempt; the reason when the webhook was disabled for it."""
        pause = None if outcome.delivered else pause_after(delivery.attempts)
        status = "delivered" if outcome.delivered else "pending" if pause else "failed"
        async with self._platform() as connection:
            await connection.execute(_HOLD, delivery.webhook_id)
            counted = await connection.execute(
                _ATTEMPTED,
                delivery.id,
                delivery.attempts,
                status,
                outcome.code,
                outcome.excerpt,
                outcome.error,
                pause or timedelta(0),
            )
            if counted != "UPDATE 1":
                return None
            if outcome.delivered:
                await connection.execute(_WELL, delivery.webhook_id)
                return None
            return await _failed(connection, delivery.webhook_id, outcome)

    async def sweep(self) -> None:
        """Delete from the log what ended long ago."""
        async with self._platform() as connection:
            await connection.execute(_SWEEP, KEPT)

    @asynccontextmanager
    async def _platform(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._pool.acquire() as connection, connection.transaction():
            await act_as_platform(connection)
            yield connection


async def _failed(connection: asyncpg.Connection, webhook_id: str, outcome: Outcome) -> str | None:
    found = await connection.fetchrow(_BADLY, webhook_id, outcome.code == GONE, FAILING_DAYS)
    if found is None:
        return None
    reason = None
    if found["gone"] >= GONE_TIMES:
        reason = f"the receiver answered {GONE} {GONE_TIMES} times in a row"
    elif found["too_long"]:
        reason = f"every attempt of {FAILING_DAYS} days failed"
    if reason is None:
        await connection.execute(_PAUSE, webhook_id, break_after(found["failures"]))
    else:
        await connection.execute(_DISABLE, webhook_id, reason)
        await connection.execute(_ABANDON, webhook_id)
    return reason
