"""The time of day that all workers agree on: the database's, carried on between looks by a monotonic clock.

What is due, leased or tried again is written by one worker and read by another. Were each to go by the clock of its own
machine, a clock that is minutes ahead would keep for minutes what its worker leaves behind, and take what others hold.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS

log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0
SLOWEST_LOOK_SECONDS = 1.0
"""An answer that took longer says too little about now."""


class DatabaseClock:
    """Callable: the database's time now, in UTC. ``monotonic`` gives seconds, wherever they begin.

    The machine's own clock may be set at any time: it is never asked. While the database is away, the time goes on.
    """

    def __init__(
        self, database: "asyncpg.Pool[asyncpg.Record]", monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._origin: datetime | None = None
        """The database's time when ``monotonic`` was 0."""

    def __call__(self) -> datetime:
        if self._origin is None:
            raise RuntimeError("the clock was not set: look first")
        return self._origin + timedelta(seconds=self._monotonic())

    async def look(self) -> None:
        """Ask the database. Raises DATABASE_ERRORS."""
        before = self._monotonic()
        shown: datetime = await self._database.fetchval("SELECT clock_timestamp()")
        after = self._monotonic()
        if self._origin is None or after - before <= SLOWEST_LOOK_SECONDS:
            self._origin = shown - timedelta(seconds=(before + after) / 2)

    async def run(self) -> None:
        """Look regularly until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except DATABASE_ERRORS as error:
                log.warning("the database's clock was not looked at, trying again", error=repr(error))
