"""When somebody may be told something."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from low_stock.settings import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("begin", "end", "at", "over"),
    [
        ("20:00", "08:00", "2026-01-05T12:00", "2026-01-05T12:00"),
        ("20:00", "08:00", "2026-01-05T19:59", "2026-01-05T19:59"),
        ("20:00", "08:00", "2026-01-05T20:00", "2026-01-06T08:00"),
        ("20:00", "08:00", "2026-01-05T07:59", "2026-01-05T08:00"),
        ("20:00", "08:00", "2026-01-05T08:00", "2026-01-05T08:00"),
        ("12:00", "14:00", "2026-01-05T13:00", "2026-01-05T14:00"),
        ("12:00", "14:00", "2026-01-05T15:00", "2026-01-05T15:00"),
        ("00:00", "00:00", "2026-01-05T00:00", "2026-01-05T00:00"),
        ("20:00", "08:00", "2026-03-28T23:00", "2026-03-29T08:00"),
    ],
)
def test_what_falls_into_quiet_hours_waits_for_their_end(begin: str, end: str, at: str, over: str) -> None:
    hours = QuietHours(time.fromisoformat(begin), time.fromisoformat(end), BERLIN)
    moment = datetime.fromisoformat(at).replace(tzinfo=BERLIN)
    assert hours.over(moment.astimezone(UTC)) == datetime.fromisoformat(over).replace(tzinfo=BERLIN)
