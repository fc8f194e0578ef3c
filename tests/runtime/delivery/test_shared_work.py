"""Hooks that share a transaction have the effects they would have had alone, whatever one of them does."""

import asyncio
import json
import random
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from outlet._calls import SAVEPOINT
from services.common.runtime_client import PluginFailed
from services.common.topics import PLUGIN_EVENTS
from services.runtime.delivery import shared_transaction
from services.runtime.delivery.shared_work import SharedWork, Sharing
from services.runtime.delivery.unit_of_work import InboxKey, UndoneTogether, already_done
from services.runtime.isolation import Scope
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall
from tests.runtime.delivery.test_dispatch import arrival
from tests.runtime.delivery.test_retries import Worker, World, number
from tests.runtime.scripted import Api, Script

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
def world(runtime_pool: Pool) -> World:
    return World(runtime_pool)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things is no slow plugin, and who comes late still comes together."""
    monkeypatch.setattr(shared_transaction, "OPEN_SECONDS", 2.0)
    monkeypatch.setattr(shared_transaction, "SLOW_SECONDS", 30.0)


class Together:
    """Lets nobody past before so many have come, so that they are in one transaction."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._all = asyncio.Event()

    async def come(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._all.set()
        await self._all.wait()


async def emit(api: Api, name: object) -> None:
    await api("events.emit", {"event": "done", "data": {"number": name}})


def writing(count: int, **special: Any) -> tuple[Script, list[int]]:
    """A plugin whose hooks all write, then wait for each other, then do what is ``special`` for one of them."""
    gate = Together(count)
    calls: list[int] = []

    async def script(api: Api, call: GuestCall) -> bytes | None:
        calls.append(number(call))
        await emit(api, number(call))
        await gate.come()
        extra = special.get(f"e{number(call)}")
        if extra is not None:
            await extra(api)
        return None

    return script, calls


async def fail(_: Api) -> None:
    raise PluginFailed("plugin_raised", "ValueError: no")


async def consume(world: World, worker: Worker, count: int) -> None:
    """Events of so many keys, all at once."""
    await worker.consume(*(arrival(world.notes, each, key=f"k{each}") for each in range(1, count + 1)))
    async with asyncio.timeout(20):
        while len(world.notes.finished) < count:  # noqa: ASYNC110  it is told by nobody
            await asyncio.sleep(0.005)
    if world.notes.crashes:
        raise world.notes.crashes[0]


async def effects(pool: Pool) -> list[int]:
    """Which events have had theirs, in order of their numbers; a number twice is an effect twice."""
    rows = await pool.fetch("SELECT value FROM outbox WHERE topic = $1", PLUGIN_EVENTS.name)
    return sorted(json.loads(row["value"])["number"] for row in rows)


async def transactions(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM inbox")
    return count


async def test_what_comes_together_is_committed_together(world: World) -> None:
    world.install()
    script, calls = writing(20)
    await consume(world, world.worker(script), 20)
    assert await effects(world.pool) == list(range(1, 21))
    assert (sorted(calls), await transactions(world.pool)) == (list(range(1, 21)), 1)


async def test_one_that_fails_after_it_has_written_takes_nothing_from_the_others(world: World) -> None:
    world.install()
    script, calls = writing(10, e3=fail)
    await consume(world, world.worker(script), 10)
    assert await effects(world.pool) == [each for each in range(1, 11) if each != 3]
    assert await world.states() == [("e3", "waiting", 1)]
    assert calls.count(3) == 1  # its failure was its attempt
    assert {calls.count(each) for each in (1, 2, 4, 5, 6, 7, 8, 9, 10)} == {2}


async def test_one_that_fails_before_it_has_written_is_none_of_the_others_business(world: World) -> None:
    world.install()
    gate = Together(10)

    async def script(api: Api, call: GuestCall) -> bytes | None:
        if number(call) != 3:
            await emit(api, number(call))
        else:
            await api("data.get", {"key": "a"})
        await gate.come()
        if number(call) == 3:
            raise PluginFailed("plugin_raised", "ValueError: no")
        return None

    worker = world.worker(script)
    await consume(world, worker, 10)
    assert await effects(world.pool) == [each for each in range(1, 11) if each != 3]
    assert (len(worker.sandbox.calls), await transactions(world.pool)) == (10, 1)
    assert await world.states() == [("e3", "waiting", 1)]


async def test_a_statement_that_is_refused_is_the_failure_of_its_hook_alone(world: World) -> None:
    world.install()

    async def too_long(api: Api) -> None:
        await api("data.set", {"key": "a", "value": "\0"})

    script, _ = writing(10, e3=too_long)
    await consume(world, world.worker(script), 10)
    assert await effects(world.pool) == [each for each in range(1, 11) if each != 3]
    assert await world.states() == [("e3", "waiting", 1)]


async def test_copies_of_an_event_that_come_together_have_one_effect(world: World) -> None:
    world.install()

    async def script(api: Api, call: GuestCall) -> bytes | None:
        await emit(api, number(call))
        return None

    copies = [arrival(world.notes, each, key=f"k{each}", event_id="same") for each in range(1, 9)]
    for copy in copies:
        copy.seen_before = False
    await world.worker(script).consume(*copies)
    await world.notes.until_finished(8)
    assert len(await effects(world.pool)) == 1


async def test_one_that_ends_while_it_claims_its_inbox_row_leaves_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for done, and its effects would never come."""
    patient_claim = shared_transaction._CLAIM.replace(shared_transaction.LOCK_TIMEOUT, "20s")
    monkeypatch.setattr(shared_transaction, "_CLAIM", patient_claim)
    sharing = Sharing(world.pool, Scope("acme", "*", "i1"))
    gone, stays = (InboxKey("i1", "sale.created", "urn:pos", each) for each in ("gone", "stays"))
    async with world.pool.acquire() as other, other.transaction():
        await other.execute("INSERT INTO inbox VALUES ($1, $2, $3, $4)", *gone.row())  # the claim waits for this

        async def claim(key: InboxKey) -> SharedWork:
            work = SharedWork(world.pool, key, Scope("acme", "*", "i1"), sharing)
            try:
                async with work.use(writes=True):
                    return work
            except BaseException:
                await work.rollback()
                raise

        claims = [asyncio.create_task(claim(key)) for key in (gone, stays)]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(10):
            while not await world.pool.fetchval(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        claims[0].cancel()
        await asyncio.wait([claims[0]])
        await other.execute("DELETE FROM inbox")
    try:
        work = await claims[1]
        await work.commit()
    except UndoneTogether:
        pass
    else:
        raise AssertionError("it was committed with the row of the one that had gone")
    assert await already_done(world.pool, [gone, stays]) == set()


async def test_a_connection_that_is_cut_costs_nobody_the_effect(world: World) -> None:
    world.install()

    cuts = 0

    async def cut(_: Api) -> None:
        nonlocal cuts
        cuts += 1
        if cuts > 1:
            return
        await world.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND state = 'idle in transaction' AND datname = current_database()"
        )

    script, _ = writing(10, e3=cut)
    await consume(world, world.worker(script), 10)
    assert await effects(world.pool) == list(range(1, 11))
    assert await world.states() == []


async def test_one_that_is_slow_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_transaction, "SLOW_SECONDS", 0.05)
    world.install()
    others_done = asyncio.Event()

    async def wait(_: Api) -> None:
        await others_done.wait()

    script, _ = writing(10, e3=wait)
    worker = world.worker(script)
    consuming = asyncio.create_task(consume(world, worker, 10))
    async with asyncio.timeout(10):
        while await effects(world.pool) != [each for each in range(1, 11) if each != 3]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    others_done.set()
    await consuming
    assert await effects(world.pool) == list(range(1, 11))


async def test_rows_that_somebody_else_holds_are_not_waited_for_by_all(world: World) -> None:
    world.install()
    holding = await world.pool.acquire()
    transaction = holding.transaction()
    await transaction.start()
    found = next(iter(world.directory.listeners("sale.created", "acme", "s1"))).id
    await holding.execute("SELECT set_config('outlet.installation', $1, true)", found)
    await holding.execute("INSERT INTO plugin_value (installation_id, key, value) VALUES ($1, 'a', '1')", found)

    async def touch(api: Api) -> None:
        await api("data.set", {"key": "a", "value": 2})

    script, _ = writing(10, e3=touch)
    consuming = asyncio.create_task(consume(world, world.worker(script), 10))
    async with asyncio.timeout(10):
        while await effects(world.pool) != [each for each in range(1, 11) if each != 3]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await transaction.commit()
    await world.pool.release(holding)
    await consuming
    assert await effects(world.pool) == list(range(1, 11))


async def savepoint(api: Api) -> None:
    number = await api("transactions.begin", {})
    await api("data.set", {"key": "a", "value": 1, SAVEPOINT: number})
    await api("transactions.commit", {SAVEPOINT: number})


async def test_what_cannot_be_shared_has_a_transaction_of_its_own_and_from_then_on_at_once(world: World) -> None:
    world.install()
    script, calls = writing(1, e1=savepoint)
    worker = world.worker(script)
    await consume(world, worker, 1)
    assert (calls, await effects(world.pool), await world.states()) == ([1, 1], [1], [])
    await worker.consume(arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert (calls, await effects(world.pool)) == ([1, 1, 2], [1, 2])


async def test_a_savepoint_that_is_not_open_is_refused_here_too(world: World) -> None:
    world.install()
    codes: list[str] = []

    async def script(api: Api, _: GuestCall) -> bytes | None:
        try:
            await api("data.set", {"key": "a", "value": 1, SAVEPOINT: 7})
        except ApiRefusal as refusal:
            codes.append(refusal.code)
        return None

    await consume(world, world.worker(script), 1)
    assert codes == ["transaction_ended"]


async def test_after_one_that_was_undone_hooks_go_alone_for_a_while(world: World) -> None:
    world.install()
    script, _ = writing(10, e3=fail)
    worker = world.worker(script)
    await consume(world, worker, 10)
    before = await transactions(world.pool)
    await worker.consume(*(arrival(world.notes, each, key=f"k{each}") for each in range(11, 16)))
    await world.notes.until_finished(15)
    assert await transactions(world.pool) == before + 5


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_hooks_do_the_effects_are_those_of_a_model(world: World, platform_pool: Pool, seed: int) -> None:
    """Events of few keys, some sent twice; hooks that fail before, after or between their writes, or at first only."""
    chance = random.Random(seed)  # noqa: S311
    world.install(attempts=3)
    fates = {
        each: chance.choice(["well"] * 6 + ["late", "early", "refused", "savepoint", "once"]) for each in range(1, 61)
    }
    tried: dict[int, int] = {}

    async def script(api: Api, call: GuestCall) -> bytes | None:
        event, fate = number(call), fates[number(call)]
        tried[event] = tried.get(event, 0) + 1
        if fate == "early":
            raise PluginFailed("plugin_raised", "early")
        await asyncio.sleep(chance.random() * 0.01)
        await emit(api, event)
        await api("data.increment", {"key": "total", "by": 1})
        if fate == "refused":
            await api("data.set", {"key": "a", "value": "\0"})
        if fate == "savepoint":
            await savepoint(api)
        if fate == "late" or (fate == "once" and tried[event] == 1):
            raise PluginFailed("plugin_raised", "late")
        return None

    worker = world.worker(script)
    copies = [each for each in fates if chance.random() < 0.2]
    sent = [*fates, *copies]
    arrivals = [
        arrival(world.notes, offset, key=f"k{event % 7}", event_id=f"e{event}") for offset, event in enumerate(sent, 1)
    ]
    for offset, event in enumerate(sent):
        found = arrivals[offset].event
        arrivals[offset].event = msgspec.structs.replace(found, data=json.dumps({"id": "1", "number": event}).encode())
        arrivals[offset].seen_before = False
    for begin in range(0, len(arrivals), 16):
        await worker.consume(*arrivals[begin : begin + 16])
    async with asyncio.timeout(20):
        while len(world.notes.finished) < len(sent):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert world.notes.crashes == []

    async def settled() -> bool:
        world.clock.pass_by(minutes=1)
        return all(state in ("dead", "succeeded") for _, state, _ in await world.states())

    await worker.until(settled)
    well = sorted(event for event, fate in fates.items() if fate in ("well", "savepoint", "once"))
    assert await effects(world.pool) == well
    counted = await platform_pool.fetchval("SELECT value FROM plugin_value WHERE key = 'total'")
    dead = sorted(int(event[1:]) for event, state, _ in await world.states() if state == "dead")
    assert (counted, dead) == (str(len(well)), sorted(fates.keys() - set(well)))
