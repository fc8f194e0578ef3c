"""How long the attempt ledger remembers what has come to an end."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 60.0
SWEEP_BATCH = 1_000

_SWEEP = """
DELETE FROM attempt_ledger WHERE id IN (
    SELECT id FROM attempt_ledger
    WHERE finished_at < now() - least($1::interval, $2::interval) AND state <> 'waiting'
      AND finished_at < now() - CASE state WHEN 'succeeded' THEN $1::interval ELSE $2::interval END
    LIMIT $3 FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True)
class LedgerRetention:
    """For how long entries are kept that succeeded in the end, and dead letters, discarded or not."""

    succeeded: timedelta = timedelta(days=7)
    dead: timedelta = timedelta(days=30)


async def sweep(pool: "asyncpg.Pool[asyncpg.Record]", retention: LedgerRetention) -> int:
    """Delete up to 1,000 entries whose time has come; how many there were. Several workers may do it at once."""
    status = await pool.execute(_SWEEP, retention.succeeded, retention.dead, SWEEP_BATCH)
    return int(status.rpartition(" ")[2])


async def keep_sweeping(pool: "asyncpg.Pool[asyncpg.Record]", retention: LedgerRetention) -> None:
    """Sweep every minute until cancelled; a database that is away delays."""
    while True:
        try:
            while await sweep(pool, retention) == SWEEP_BATCH:
                pass
        except DATABASE_ERRORS as error:
            log.warning("attempt ledger not swept, trying again", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)
