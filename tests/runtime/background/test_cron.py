"""When schedules tick: over both changes of the clock, and after nobody was there."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from outlet.manifest import ScheduleDeclaration
from services.runtime.background.cron import MOST_MISSED, due_ticks, local_time, next_tick


def schedule(cron: str, timezone: str = "UTC", missed: str = "all") -> ScheduleDeclaration:
    return ScheduleDeclaration(name="s", cron=cron, timezone=timezone, missed=missed)  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(cron: str, timezone: str, start: str, count: int) -> list[str]:
    ticks, last = [], at(start)
    for _ in range(count):
        last = next_tick(schedule(cron, timezone), last)
        ticks.append(f"{last:%d %H:%M}")
    return ticks


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        # On 29 March 2026 Berlin's clocks go from 02:00 to 03:00, which is 01:00 UTC.
        ("30 2 * * *", ["28 01:30", "29 01:00", "30 00:30"]),
        ("30 3 * * *", ["28 02:30", "29 01:30", "30 01:30"]),
        ("30 1 * * *", ["28 00:30", "29 00:30", "29 23:30"]),
    ],
)
def test_a_time_that_spring_skips_runs_right_after_the_gap(cron: str, expected: list[str]) -> None:
    assert following(cron, "Europe/Berlin", "2026-03-27T12:00", 3) == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        # On 25 October 2026 Berlin's clocks go back from 03:00 to 02:00, which is 01:00 UTC.
        ("30 2 * * *", ["24 00:30", "25 00:30", "26 01:30"]),
        ("30 3 * * *", ["24 01:30", "25 02:30", "26 02:30"]),
    ],
)
def test_a_time_that_autumn_repeats_runs_once(cron: str, expected: list[str]) -> None:
    assert following(cron, "Europe/Berlin", "2026-10-23T12:00", 3) == expected


def test_an_hourly_schedule_ticks_through_both_changes_of_the_clock() -> None:
    for start in ("2026-03-28T20:15", "2026-10-24T20:15"):
        ticks = [at(start)]
        for _ in range(12):
            ticks.append(next_tick(schedule("15 * * * *", "Europe/Berlin"), ticks[-1]))
        assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(hours=1)}


@pytest.mark.parametrize("minutes", [0, 15, 30, 45, 60, 75, 90, 105, 120, 150])
def test_no_tick_is_lost_or_doubled_wherever_in_the_repeated_hour_one_looks(minutes: int) -> None:
    start, end = at("2026-10-24T12:00"), at("2026-10-25T12:00")
    look = at("2026-10-25T00:00") + timedelta(minutes=minutes)
    for cron in ("30 2 * * *", "0 2,3 * * *", "*/20 * * * *"):
        nightly = schedule(cron, "Europe/Berlin")
        whole = due_ticks(nightly, start, end)
        assert due_ticks(nightly, start, look) + due_ticks(nightly, look, end) == whole
        assert next_tick(nightly, look) == next((tick for tick in whole if tick > look), next_tick(nightly, end))


def test_looking_back_finds_what_looking_forward_announced() -> None:
    for cron in ("30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "0 9 * * MON#1", "5 4 L * *"):
        for timezone in ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"):
            nightly = schedule(cron, timezone)
            start = at("2026-03-20T00:00")
            announced: list[datetime] = []
            tick = next_tick(nightly, start)
            while len(announced) < 40:
                announced.append(tick)
                tick = next_tick(nightly, tick)
            assert due_ticks(nightly, start, announced[-1]) == announced


def test_the_local_time_of_a_tick_has_the_offset_of_its_zone() -> None:
    nightly = schedule("0 2 * * *", "Europe/Berlin")
    assert local_time(nightly, next_tick(nightly, at("2026-07-01T12:00"))) == "2026-07-02T02:00:00+02:00"
    assert local_time(nightly, next_tick(nightly, at("2026-12-01T12:00"))) == "2026-12-02T02:00:00+01:00"


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        ("skip", "12:00:01", ["12:00"]),
        ("skip", "12:02:00", []),
        ("once", "12:02:00", ["12:00"]),
        ("all", "12:02:00", ["10:00", "11:00", "12:00"]),
    ],
)
def test_missed_ticks_follow_the_declared_policy(missed: str, late: str, expected: list[str]) -> None:
    ticks = due_ticks(schedule("0 * * * *", missed=missed), at("2026-05-01T09:00"), at(f"2026-05-01T{late}"))
    assert [f"{tick:%H:%M}" for tick in ticks] == expected


def test_at_most_a_thousand_missed_ticks_are_made_up_for_and_they_are_the_latest() -> None:
    now = at("2026-05-01T00:00:30")
    ticks = due_ticks(schedule("* * * * *"), now - timedelta(days=400), now)
    assert len(ticks) == MOST_MISSED == 1_000
    assert ticks[-1] == now - timedelta(seconds=30)
    assert ticks[0] == ticks[-1] - timedelta(minutes=999)


def test_nothing_is_due_before_the_first_tick() -> None:
    for missed in ("skip", "once", "all"):
        daily = schedule("0 2 * * *", missed=missed)
        assert due_ticks(daily, at("2026-05-01T02:00"), at("2026-05-02T01:59:59")) == []
        assert due_ticks(daily, at("2026-05-01T02:00"), at("2026-05-02T02:00:00")) == [at("2026-05-02T02:00")]
