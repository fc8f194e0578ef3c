"""The clocks of schedules: per installation and schedule, the last tick that was decided on, and the next."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.common.directory import Installation
from services.runtime.background.cron import next_tick

_START = """
INSERT INTO schedule_clock (installation_id, schedule, planned_at, next_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (installation_id, schedule) DO
"""
# A new version of the plugin may ask for ticks that come sooner.
_START_NEW = f"""{_START}
UPDATE SET planned_at = excluded.planned_at, next_at = excluded.next_at WHERE schedule_clock.next_at > excluded.next_at
"""
_RESTART = f"{_START} UPDATE SET planned_at = excluded.planned_at, next_at = excluded.next_at"
_DUE = """
SELECT installation_id, schedule, planned_at FROM schedule_clock
WHERE next_at <= $1 AND installation_id = ANY($2::text[]) ORDER BY next_at LIMIT $3
"""
_ADVANCE = "UPDATE schedule_clock SET planned_at = $3, next_at = $4 WHERE installation_id = $1 AND schedule = $2"


@dataclass(frozen=True, slots=True)
class Clock:
    """``planned_at`` is the last tick that was decided on, or when the clock was started."""

    installation_id: str
    schedule: str
    planned_at: datetime


async def start_new(connection: asyncpg.Connection, installations: Iterable[Installation], now: datetime) -> None:
    """Start the clocks that these installations lack, or whose next tick is sooner by now; the others go on."""
    await _start(connection, _START_NEW, installations, now)


async def restart(connection: asyncpg.Connection, installation: Installation, now: datetime) -> None:
    """Start the clocks of an installation from ``now``, and drop the ticks that wait: nothing before was missed."""
    await connection.execute(
        "DELETE FROM background_work WHERE installation_id = $1 AND kind = 'schedule'", installation.id
    )
    await connection.execute("DELETE FROM schedule_clock WHERE installation_id = $1", installation.id)
    await _start(connection, _RESTART, [installation], now)


async def due(connection: asyncpg.Connection, installations: Collection[str], now: datetime, limit: int) -> list[Clock]:
    """Clocks of these installations whose next tick has come."""
    return [Clock(**row) for row in await connection.fetch(_DUE, now, list(installations), limit)]


async def advance(connection: asyncpg.Connection, clock: Clock, planned: datetime, following: datetime) -> None:
    """Everything up to ``planned`` is decided; look again at ``following``."""
    await connection.execute(_ADVANCE, clock.installation_id, clock.schedule, planned, following)


async def forget(connection: asyncpg.Connection, clock: Clock) -> None:
    """Drop the clock of a schedule that is declared no more."""
    await connection.execute(
        "DELETE FROM schedule_clock WHERE installation_id = $1 AND schedule = $2", clock.installation_id, clock.schedule
    )


async def _start(
    connection: asyncpg.Connection, statement: str, installations: Iterable[Installation], now: datetime
) -> None:
    rows = [
        (installation.id, schedule.name, now, next_tick(schedule, now))
        for installation in installations
        for schedule in installation.manifest.schedules
    ]
    if rows:
        await connection.execute(statement, *(list(column) for column in zip(*rows, strict=True)))
