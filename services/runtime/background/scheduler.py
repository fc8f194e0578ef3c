"""Fires the ticks of schedules: one worker at a time, whoever holds the lock for a turn."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Directory, Installation
from services.runtime.background import clocks, work
from services.runtime.background.cron import PUNCTUAL, due_ticks, local_time, next_tick
from services.runtime.background.work import NewWork, tick_id

log = structlog.get_logger(__name__)

SCHEDULER_LOCK = 7_003
TURN_SECONDS = 1.0
BATCH = 200
"""Clocks moved in one transaction."""

# A turn holds the lock only as long as its transaction: the server ends it with a worker that died, and this setting
# with one that hangs.
_LEAD = """
SELECT pg_try_advisory_xact_lock($1), set_config('idle_in_transaction_session_timeout', '10s', true)
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Scheduler:
    """Turns what is due into rows of background work, which any worker then runs.

    A tick and the step of its clock are one transaction, and a tick's id follows from its time: it is fired once.
    """

    def __init__(
        self,
        directory: Directory,
        pool: "asyncpg.Pool[asyncpg.Record]",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._directory = directory
        self._pool = pool
        self._now = now
        self._started: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Take turns until cancelled. A database that is away delays ticks; their policy says what becomes of them."""
        while True:
            try:
                if await self.turn() == BATCH:
                    continue
            except DATABASE_ERRORS as error:
                log.warning("schedules not looked at, trying again", error=repr(error))
            await asyncio.sleep(TURN_SECONDS)

    async def turn(self) -> int:
        """Fire what is due; the number of clocks moved, 0 also when another worker is at it."""
        # The ticks of an installation that its circuit breaker holds are made all the same: they are kept, and some of
        # them show whether the plugin works again.
        active = {
            found.id: found
            for found in self._directory
            if (found.status == "active" or found.held) and found.manifest.schedules
        }
        if not active:
            return 0
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_LEAD, SCHEDULER_LOCK):
                return 0
            now = self._now()
            # The clock of an installation that was activated is started with its activation. Others have none when
            # the database is newer than the installation.
            unseen = [found for found in active.values() if (found.id, found.revision) not in self._started]
            await clocks.start_new(connection, unseen, now)
            due = await clocks.due(connection, active, now, BATCH)
            for clock in due:
                await self._fire(connection, active[clock.installation_id], clock, now)
        self._started = {(found.id, found.revision) for found in active.values()}
        return len(due)

    async def _fire(
        self, connection: asyncpg.Connection, installation: Installation, clock: clocks.Clock, now: datetime
    ) -> None:
        schedule = next((each for each in installation.manifest.schedules if each.name == clock.schedule), None)
        if schedule is None:
            await clocks.forget(connection, clock)
            return
        ticks = due_ticks(schedule, clock.planned_at, now)
        fired = [
            NewWork(
                id=tick_id(installation.id, schedule.name, planned),
                kind="schedule",
                installation_id=installation.id,
                name=schedule.name,
                store_id=installation.store_id,
                payload=local_time(schedule, planned).encode(),
                planned_at=planned,
            )
            for planned in ticks
        ]
        await work.add(connection, *fired)
        if not ticks or now - ticks[0] > PUNCTUAL:
            log.warning(
                "ticks were missed",
                installation=installation.id,
                schedule=schedule.name,
                policy=schedule.missed,
                last=clock.planned_at.isoformat(),
                fired=len(ticks),
            )
        await clocks.advance(connection, clock, max([clock.planned_at, *ticks]), next_tick(schedule, now))
