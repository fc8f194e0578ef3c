"""What runs without an event or a request: ticks of schedules, and jobs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from outlet._errors import ApiError

CRON_FIELDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One turn of a schedule.

    ``planned`` is when it was due, with the offset of the schedule's time zone, however late it runs. ``id`` is the
    same whenever this tick is delivered again; what the handler did through the API happens once.
    """

    id: str
    schedule: str
    planned: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of background work.

    ``payload`` is what was enqueued. ``attempt`` counts from 1; a job that fails is tried again, 8 times in all.
    """

    id: str
    name: str
    payload: Any
    attempt: int
    enqueued: datetime


def check_cron(cron: str, timezone: str) -> None:
    """Raise ValueError, which says why, when a schedule could never run."""
    if len(cron.split()) != CRON_FIELDS:
        raise ValueError(f"{cron!r} has not five fields: minute, hour, day of month, month, day of week")
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{timezone!r} is no IANA time zone such as Europe/Berlin") from error
    try:
        next(CronSim(cron, datetime.now(zone)))
    except CronSimError as error:
        raise ValueError(f"{cron!r}: {error}") from error
    except StopIteration:
        raise ValueError(f"{cron!r} names a date that never comes") from None


async def enqueue(
    call: Callable[[str, dict[str, Any]], Awaitable[Any]],
    name: str,
    payload: Any,
    delay: float | timedelta | datetime,
    key: str | None,
) -> str:
    """Make the API call behind :meth:`outlet.Api.enqueue`."""
    arguments: dict[str, Any] = {"name": name, "payload": payload, "key": key}
    if isinstance(delay, datetime):
        if delay.tzinfo is None:
            raise ApiError("invalid_argument", f"{delay!r} has no time zone: use datetime.now(UTC)")
        arguments["at"] = delay
    else:
        arguments["delay"] = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    job: str = await call("jobs.enqueue", arguments)
    return job
