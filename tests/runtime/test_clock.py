"""The time that workers agree on."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.runtime.clock import SLOWEST_LOOK_SECONDS, DatabaseClock

NEAR = timedelta(seconds=2)


class Machine:
    """A monotonic clock that a test moves; ``delay`` passes at each look at it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.delay = 0.0

    def __call__(self) -> float:
        self.seconds += self.delay
        return self.seconds


@pytest.fixture
async def pool(runtime_dsn: str) -> "AsyncIterator[asyncpg.Pool[asyncpg.Record]]":
    async with asyncpg.create_pool(runtime_dsn, min_size=1, max_size=1) as pool:
        yield pool


async def test_time_is_the_databases(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    clock = DatabaseClock(pool)
    await clock.look()
    assert abs(clock() - await pool.fetchval("SELECT clock_timestamp()")) < NEAR


async def test_clock_of_the_machine_is_never_asked(
    pool: "asyncpg.Pool[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DatabaseClock(pool)
    await clock.look()
    monkeypatch.setattr("time.time", lambda: 0.0)  # set back to 1970
    assert abs(clock() - datetime.now(UTC)) < NEAR


async def test_time_goes_on_while_the_database_is_away(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    machine = Machine()
    clock = DatabaseClock(pool, machine)
    await clock.look()
    before = clock()
    await pool.close()
    machine.seconds += 90
    assert clock() - before == timedelta(seconds=90)


async def test_answer_that_took_too_long_changes_nothing(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """As for a worker that was frozen while it asked: where in between the answer was given, nobody knows."""
    machine = Machine()
    clock = DatabaseClock(pool, machine)
    await clock.look()
    expected = clock()
    machine.delay = 4 * SLOWEST_LOOK_SECONDS
    await clock.look()
    passed, machine.delay = machine.seconds - 1_000.0, 0.0
    assert clock() == expected + timedelta(seconds=passed)


async def test_clock_that_was_never_set_says_so(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    with pytest.raises(RuntimeError, match="look first"):
        DatabaseClock(pool)()
