"""Ticks are fired once, by whoever leads, whatever happens to it."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from outlet.manifest import ScheduleDeclaration
from services.common.directory import Breaker, Directory, Installation
from services.common.runtime_client import LifecycleHook
from services.runtime.background import clocks
from services.runtime.background.scheduler import SCHEDULER_LOCK, Scheduler
from services.runtime.background.work import remove_all
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.sandbox import GuestCall
from tests.runtime.background.clock import Clock
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, ScriptedSandbox

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


def scheduled(*crons: str, missed: Any = "once", **options: Any) -> Installation:
    schedules = tuple(
        ScheduleDeclaration(name=f"s{number}", cron=cron, missed=missed) for number, cron in enumerate(crons)
    )
    return installation(schedules=schedules, **options)


class Uncounted:
    def api_called(self, _: Installation) -> None:
        return None


async def nothing(_: Api, __: GuestCall) -> bytes | None:
    return None


class Platform:
    """A directory, a clock and any number of workers' schedulers on one database."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = Clock("2026-05-01T09:59:30")
        self.directory = Directory()

    def worker(self) -> Scheduler:
        return Scheduler(self.directory, self.pool, self.clock)

    async def ticks(self) -> list[str]:
        rows = await self.pool.fetch("SELECT planned_at FROM background_work ORDER BY planned_at")
        return [f"{row['planned_at']:%d %H:%M}" for row in rows]


@pytest.fixture
async def platform(runtime_pool: Pool) -> Platform:
    return Platform(runtime_pool)


async def test_a_tick_is_fired_when_its_time_has_come_and_not_before(platform: Platform) -> None:
    platform.directory.put(scheduled("0 10 * * *"))
    worker = platform.worker()
    await worker.turn()
    platform.clock.forward(seconds=29)
    await worker.turn()
    assert await platform.ticks() == []
    platform.clock.forward(seconds=1)
    await worker.turn()
    await worker.turn()
    assert await platform.ticks() == ["01 10:00"]


async def test_many_workers_and_restarts_fire_each_tick_once(platform: Platform) -> None:
    for store in ("s1", "s2", "s3"):
        platform.directory.put(scheduled("*/5 * * * *", "*/10 * * * *", store=store))
    workers = [platform.worker() for _ in range(4)]
    await workers[0].turn()
    for _ in range(12):
        platform.clock.forward(minutes=5)
        await asyncio.gather(*(worker.turn() for worker in workers))
        workers = [platform.worker(), *workers[:3]]
    await workers[0].turn()
    assert len(await platform.ticks()) == 3 * (12 + 6)
    assert (
        await platform.pool.fetchval("SELECT count(DISTINCT (installation_id, name, planned_at)) FROM background_work")
        == 54
    )


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", []), ("once", ["01 13:00"]), ("all", ["01 10:00", "01 11:00", "01 12:00", "01 13:00"])],
)
async def test_ticks_that_nobody_was_there_for_follow_the_policy(
    platform: Platform, missed: str, expected: list[str]
) -> None:
    platform.directory.put(scheduled("0 * * * *", missed=missed))
    await platform.worker().turn()
    platform.clock.forward(hours=3.5)
    await platform.worker().turn()
    assert await platform.ticks() == expected
    platform.clock.forward(minutes=31)
    await platform.worker().turn()
    assert await platform.ticks() == [*expected, "01 14:00"]


async def test_a_leader_that_is_killed_in_its_turn_leaves_it_to_another(platform: Platform) -> None:
    platform.directory.put(scheduled("0 10 * * *"))
    await platform.worker().turn()
    platform.clock.forward(minutes=1)
    async with platform.pool.acquire() as leader:
        await leader.execute("BEGIN")
        await leader.fetchval("SELECT pg_advisory_xact_lock($1)", SCHEDULER_LOCK)
        await leader.execute("DELETE FROM schedule_clock")
        assert await platform.worker().turn() == 0
        leader.terminate()
    async with asyncio.timeout(5):
        while not await platform.worker().turn():  # noqa: ASYNC110  the server notices the end in its own time
            await asyncio.sleep(0.02)
    assert await platform.ticks() == ["01 10:00"]


async def test_what_is_not_active_does_not_tick(platform: Platform) -> None:
    active = scheduled("0 * * * *")
    platform.directory.put(active)
    await platform.worker().turn()
    platform.directory.put(msgspec.structs.replace(active, status="inactive", revision=2))
    platform.clock.forward(hours=3)
    await platform.worker().turn()
    assert await platform.ticks() == []


async def test_what_its_circuit_breaker_holds_ticks_and_the_ticks_are_kept(platform: Platform) -> None:
    found = scheduled("0 * * * *")
    platform.directory.put(found)
    await platform.worker().turn()
    held = Breaker(state="open", revision=2)
    platform.directory.put(msgspec.structs.replace(found, status="error", breaker=held, revision=2))
    platform.clock.forward(hours=1)
    await platform.worker().turn()
    assert len(await platform.ticks()) == 1


async def test_activation_starts_the_clock_anew(platform: Platform) -> None:
    found = scheduled("0 * * * *", missed="all")
    platform.directory.put(found)
    await platform.worker().turn()
    platform.clock.forward(hours=2)
    await platform.worker().turn()
    assert len(await platform.ticks()) == 2
    platform.clock.forward(hours=2)
    async with platform.pool.acquire() as connection, connection.transaction():
        await clocks.restart(connection, found, platform.clock())
    await platform.worker().turn()
    assert await platform.ticks() == []
    platform.clock.forward(hours=1)
    await platform.worker().turn()
    assert await platform.ticks() == ["01 14:00"]


async def test_a_schedule_that_a_new_version_lacks_stops(platform: Platform) -> None:
    found = scheduled("0 * * * *", "30 * * * *")
    platform.directory.put(found)
    await platform.worker().turn()
    fewer = msgspec.structs.replace(found.manifest, schedules=found.manifest.schedules[:1])
    platform.directory.put(msgspec.structs.replace(found, manifest=fewer, revision=2))
    platform.clock.forward(hours=1)
    await platform.worker().turn()
    assert await platform.ticks() == ["01 10:00"]
    assert await platform.pool.fetchval("SELECT count(*) FROM schedule_clock") == 1


async def test_what_is_uninstalled_leaves_neither_clocks_nor_ticks(platform: Platform) -> None:
    gone, kept = scheduled("0 * * * *", store="s1"), scheduled("0 * * * *", store="s2")
    platform.directory.put(gone)
    platform.directory.put(kept)
    await platform.worker().turn()
    platform.clock.forward(hours=1)
    await platform.worker().turn()
    async with platform.pool.acquire() as connection, connection.transaction():
        await remove_all(connection, gone.id)
    for table in ("background_work", "schedule_clock"):
        assert [row[0] for row in await platform.pool.fetch(f"SELECT installation_id FROM {table}")] == [kept.id]  # noqa: S608


async def test_an_installation_that_is_activated_and_uninstalled_starts_and_loses_its_clocks(
    platform: Platform,
) -> None:
    found = scheduled("0 * * * *")
    nobody: Any = Uncounted()
    invoker = Invoker(platform.pool, ScriptedSandbox(nothing), resources(), nobody)  # type: ignore[arg-type]

    async def run(hook: LifecycleHook) -> list[datetime]:
        await invoker.run(Invocation(found, "lifecycle", hook.value, "urn:op", uuid.uuid4().hex, None, b"", 5.0))
        return [row["planned_at"] for row in await platform.pool.fetch("SELECT planned_at FROM schedule_clock")]

    before = datetime.now(UTC)
    [first] = await run(LifecycleHook.ON_ACTIVATE)
    assert before <= first <= datetime.now(UTC)
    assert await run(LifecycleHook.ON_DEACTIVATE) == [first]
    [again] = await run(LifecycleHook.ON_ACTIVATE)
    assert again > first
    assert await run(LifecycleHook.ON_UNINSTALL) == []


async def test_a_new_version_whose_schedule_comes_sooner_does_not_wait_for_the_former_ones_tick(
    platform: Platform,
) -> None:
    found = scheduled("0 14 * * *", missed="all")
    platform.directory.put(found)
    await platform.worker().turn()
    sooner = msgspec.structs.replace(scheduled("0 * * * *", missed="all"), id=found.id, version="1.1.0", revision=2)
    platform.directory.put(sooner)
    worker = platform.worker()
    await worker.turn()
    platform.clock.forward(seconds=30)
    await worker.turn()
    assert await platform.ticks() == ["01 10:00"]
    later = msgspec.structs.replace(scheduled("30 10 * * *", missed="all"), id=found.id, version="1.2.0", revision=3)
    platform.directory.put(later)
    await worker.turn()
    platform.clock.forward(seconds=1800)
    await worker.turn()
    assert await platform.ticks() == ["01 10:00", "01 10:30"]


async def test_a_tick_that_is_due_while_its_installation_gets_another_version_is_not_lost(platform: Platform) -> None:
    found = scheduled("0 10 * * *")
    platform.directory.put(found)
    await platform.worker().turn()
    platform.clock.forward(seconds=45)
    platform.directory.put(msgspec.structs.replace(found, version="1.1.0", revision=2))
    await platform.worker().turn()
    assert await platform.ticks() == ["01 10:00"]
