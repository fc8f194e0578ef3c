"""When a schedule ticks: a cron expression read in the time zone of its author."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from outlet.manifest import ScheduleDeclaration

MOST_MISSED = 1_000
"""Ticks that are made up for, under the policy ``all``."""
PUNCTUAL = timedelta(seconds=60)
"""A tick within this of its time was not missed."""

# A wall clock that is turned back shows the same times twice, and cron answers for the wall clock: look from further
# away than any change of the clock, and leave out what is on the wrong side.
_MARGIN = timedelta(hours=3)


def next_tick(schedule: ScheduleDeclaration, after: datetime) -> datetime:
    """The first tick after ``after``, in UTC."""
    return next(tick for tick in _ticks(schedule, after - _MARGIN) if tick > after)


def due_ticks(schedule: ScheduleDeclaration, after: datetime, now: datetime) -> list[datetime]:
    """The ticks after ``after`` and up to ``now`` that are to run, oldest first, in UTC, by the schedule's policy.

    ``skip``: the latest, unless it is more than :data:`PUNCTUAL` late. ``once``: the latest. ``all``: the latest
    :data:`MOST_MISSED`.
    """
    around = takewhile(lambda tick: tick > after - _MARGIN, _ticks(schedule, now + _MARGIN, reverse=True))
    passed = islice((tick for tick in around if after < tick <= now), MOST_MISSED if schedule.missed == "all" else 1)
    return sorted({tick for tick in passed if schedule.missed != "skip" or now - tick <= PUNCTUAL})


def local_time(schedule: ScheduleDeclaration, tick: datetime) -> str:
    """``tick`` as RFC 3339 with the offset of the schedule's time zone."""
    return tick.astimezone(ZoneInfo(schedule.timezone)).isoformat()


def _ticks(schedule: ScheduleDeclaration, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    zone = ZoneInfo(schedule.timezone)
    return (tick.astimezone(UTC) for tick in CronSim(schedule.cron, start.astimezone(zone), reverse=reverse))
