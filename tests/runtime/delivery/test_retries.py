"""What becomes of events whose hook fails: how often, when and in which order they are tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from outlet.manifest import HookDeclaration
from services.common.dead_letters import Selection
from services.common.directory import Breaker, Directory, Installation
from services.common.runtime_client import PluginFailed
from services.common.topics import DEAD_LETTERS
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures, RetryPolicy
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.parking import LOOKS, Parking
from services.runtime.delivery.retries import LEASE, RetryRunner
from services.runtime.delivery.unit_of_work import InboxKey
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.sandbox import GuestCall, PluginInterrupted
from tests.runtime.delivery.letters import published
from tests.runtime.delivery.test_dispatch import Notes, arrival
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
EVER = 1_000.0


async def effects(pool: Pool) -> list[str]:
    """What plugins emitted, and is committed."""
    query = "SELECT headers ->> 'ce_type' AS type FROM outbox WHERE topic <> $1"
    rows = await pool.fetch(query, DEAD_LETTERS.name)
    return [row["type"] for row in rows]


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class Worker:
    """A worker of a test: its dispatcher, its runner, and what its plugin was called with."""

    dispatcher: Dispatcher
    runner: RetryRunner
    sandbox: ScriptedSandbox

    async def consume(self, *arrivals: Any) -> None:
        await self.dispatcher.dispatch(list(arrivals))

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Take turns until something holds."""
        async with asyncio.timeout(10):
            while not await holds():
                await self.runner.turn()
                await asyncio.sleep(0.001)


@dataclass
class World:
    """One database, one clock, and as many workers as a test makes."""

    pool: Pool
    clock: Clock = field(default_factory=Clock)
    notes: Notes = field(default_factory=Notes)
    directory: Directory = field(default_factory=Directory)

    def worker(self, script: Script, name: str = "one", policy: RetryPolicy | None = None) -> Worker:
        sandbox: Any = ScriptedSandbox(script)
        noted: Any = self.notes
        ledger = Ledger(self.pool, name)
        failures = Failures(ledger, policy or RetryPolicy(), now=self.clock, chance=lambda: 1.0)
        invoker = Invoker(self.pool, sandbox, resources(), noted)
        hooks = Hooks(self.directory, sandbox, invoker, noted, failures, deadline=5.0)
        hooks.crashed = self.notes.crashes.append
        runner = RetryRunner(ledger, hooks, failures, now=self.clock)
        return Worker(Dispatcher(self.directory, self.pool, ledger, hooks), runner, sandbox)

    def install(self, **hook: Any) -> Installation:
        found = installation(hooks=(HookDeclaration(event="sale.created", **hook),))
        self.directory.put(found)
        return found

    async def states(self) -> list[tuple[str, str, int]]:
        rows = await self.pool.fetch("SELECT event_id, state, attempts FROM attempt_ledger ORDER BY id")
        return [(row["event_id"], row["state"], row["attempts"]) for row in rows]

    def in_states(self, *wanted: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return [state for _, state, _ in await self.states()] == list(wanted)

        return holds

    def tried(self, attempts: int) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return bool(
                await self.pool.fetchval(
                    "SELECT count(*) FROM attempt_ledger WHERE attempts = $1 AND leased_by IS NULL", attempts
                )
            )

        return holds


@pytest.fixture
def world(runtime_pool: Pool) -> World:
    return World(runtime_pool)


def number(call: GuestCall) -> int:
    found: int = msgspec.json.decode(msgspec.msgpack.decode(call.payload)[-1])["number"]
    return found


def failing(*numbers: int, times: float = EVER) -> tuple[Script, list[int]]:
    """A plugin that fails these events so often, and has an effect on all others; and the order of what it did."""
    done: list[int] = []
    left = dict.fromkeys(numbers, times)

    async def script(api: Api, call: GuestCall) -> bytes | None:
        if left.get(number(call), 0) > 0:
            left[number(call)] -= 1
            raise PluginFailed("plugin_raised", "ValueError: no\0", "Traceback ...")
        await api("events.emit", {"event": "done", "data": {}})
        done.append(number(call))
        return None

    return script, done


async def test_a_hook_is_tried_as_often_as_it_may_and_then_its_event_is_a_dead_letter(world: World) -> None:
    world.install(attempts=3)
    script, _ = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    for attempts in (2, 3):
        await worker.runner.turn()
        assert len(worker.sandbox.calls) == attempts - 1  # not before its time
        world.clock.pass_by(seconds=10 * 2 ** (attempts - 2))
        await worker.until(world.tried(attempts))
    assert await world.states() == [("e1", "dead", 3)]
    assert len(worker.sandbox.calls) == 3
    assert world.notes.retries == [True, True]
    assert [(letter["code"], letter["attempts"]) for letter in await published(world.pool)] == [("plugin_raised", "3")]
    world.clock.pass_by(days=1)
    assert await worker.runner.turn() == 0


async def test_an_attempt_that_succeeds_is_the_last(world: World) -> None:
    world.install()
    script, done = failing(1, times=1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.clock.pass_by(seconds=10)
    await worker.until(world.in_states("succeeded"))
    assert (await world.states(), done) == ([("e1", "succeeded", 2)], [1])
    assert world.notes.retries == [False]
    assert await world.pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_workers_that_are_killed_in_the_middle_have_made_their_attempt(world: World) -> None:
    """Each worker leases the entry, begins, and is never heard of again."""
    world.install(attempts=4)
    script, _ = failing(1)
    first = world.worker(script)
    await first.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    begun: list[str] = []
    for name in ("two", "three", "four"):

        async def forever(_: Api, __: GuestCall, name: str = name) -> bytes | None:
            begun.append(name)
            await asyncio.Event().wait()
            return None

        world.clock.pass_by(hours=2)
        killed = world.worker(forever, name)
        await killed.runner.turn()
        async with asyncio.timeout(5):
            while name not in begun:  # noqa: ASYNC110  the plugin of the test says so
                await asyncio.sleep(0.001)
        await killed.dispatcher.hooks.close()
    survivor = world.worker(script, "five")
    assert await survivor.runner.turn() == 0  # the lease of the last one still holds
    world.clock.pass_by(seconds=LEASE.total_seconds() + 1)
    await survivor.until(world.in_states("dead"))
    assert await world.states() == [("e1", "dead", 4)]
    assert (begun, survivor.sandbox.calls) == (["two", "three", "four"], [])
    assert [letter["code"] for letter in await published(world.pool)] == ["attempt_lost"]


async def test_what_was_committed_by_a_worker_that_was_killed_just_after_is_no_dead_letter(world: World) -> None:
    found = world.install(attempts=2)
    script, _ = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.clock.pass_by(seconds=10)
    await Ledger(world.pool, "killed").lease([found.id], world.clock.now, world.clock.now + LEASE, 1)
    key = InboxKey(found.id, "sale.created", "urn:pos", "e1")
    await world.pool.execute("INSERT INTO inbox VALUES ($1, $2, $3, $4)", *key.row())
    world.clock.pass_by(minutes=5)
    await worker.until(world.in_states("succeeded"))
    assert await published(world.pool) == []


async def test_a_redelivered_event_that_waits_for_its_next_attempt_is_not_tried_before(world: World) -> None:
    world.install()
    script, _ = failing(1)
    worker = world.worker(script)
    for offset in (1, 2):
        await worker.consume(arrival(world.notes, offset, event_id="e1"))
        await world.notes.until_finished(offset)
    assert len(worker.sandbox.calls) == 1
    assert await world.states() == [("e1", "waiting", 1)]


async def test_ordered_events_wait_behind_one_that_failed_and_others_do_not(world: World) -> None:
    world.install(ordered=True)
    script, done = failing(1, times=2)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2), arrival(world.notes, 3, key="other"))
    await world.notes.until_finished(3)
    await worker.consume(arrival(world.notes, 4), arrival(world.notes, 5, key="other"))
    await world.notes.until_finished(5)
    assert done == [3, 5]
    assert await world.states() == [("e1", "waiting", 1), ("e2", "waiting", 0), ("e4", "waiting", 0)]
    world.clock.pass_by(seconds=10)
    await worker.until(world.tried(2))
    assert done == [3, 5]
    world.clock.pass_by(seconds=20)
    await worker.until(world.in_states("succeeded", "succeeded", "succeeded"))
    assert done == [3, 5, 1, 2, 4]
    await worker.consume(arrival(world.notes, 6))
    await world.notes.until_finished(6)
    assert done[-1] == 6


async def test_a_dead_letter_lets_the_later_events_of_its_key_go_on(world: World) -> None:
    world.install(ordered=True, attempts=1)
    script, done = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert (done, await world.states()) == ([2], [("e1", "dead", 1)])


async def test_a_repetition_of_what_became_a_dead_letter_has_no_effect(world: World) -> None:
    """The copy comes from where nobody has read before, so nobody asks; and the plugin would not fail it this time."""
    world.install(attempts=1)
    script, _ = failing(1, times=1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    copy = arrival(world.notes, 2, event_id="e1")
    copy.seen_before = False
    await worker.consume(copy)
    await world.notes.until_finished(2)
    assert len(worker.sandbox.calls) == 2
    assert await effects(world.pool) == []
    assert (len(await published(world.pool)), await world.states()) == (1, [("e1", "dead", 1)])


async def test_a_worker_that_comes_back_after_its_event_died_has_no_effect(world: World) -> None:
    world.install(attempts=2)
    began, go_on = asyncio.Event(), asyncio.Event()
    calls = 0

    async def slow_at_last(api: Api, call: GuestCall) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise PluginFailed("plugin_raised", "ValueError: no")
        began.set()
        await go_on.wait()
        await api("events.emit", {"event": "done", "data": {}})
        return None

    zombie = world.worker(slow_at_last, "zombie")
    await zombie.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.clock.pass_by(seconds=10)
    assert await zombie.runner.turn() == 1
    await began.wait()
    world.clock.pass_by(minutes=5)
    await world.worker(failing()[0], "two").until(world.in_states("dead"))
    go_on.set()

    async def idle() -> bool:
        return not zombie.dispatcher.hooks.lanes()

    await zombie.until(idle)
    assert await effects(world.pool) == []
    assert [letter["code"] for letter in await published(world.pool)] == ["attempt_lost"]
    assert await world.states() == [("e1", "dead", 2)]


@pytest.mark.parametrize("attempts", [1, 2])
async def test_the_last_failure_of_an_event_whose_effects_another_worker_committed_makes_no_dead_letter(
    world: World, attempts: int
) -> None:
    found = world.install(attempts=attempts)
    key = InboxKey(found.id, "sale.created", "urn:pos", "e1")
    calls = 0

    async def overtaken(_: Api, __: GuestCall) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls == attempts:
            await world.pool.execute("INSERT INTO inbox VALUES ($1, $2, $3, $4)", *key.row())
        raise PluginFailed("plugin_raised", "ValueError: no")

    worker = world.worker(overtaken)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.clock.pass_by(seconds=10)
    await worker.until(world.in_states("succeeded"))
    assert calls == attempts
    assert await published(world.pool) == []


async def test_a_replayed_dead_letter_can_have_its_effect_and_has_it_once(world: World) -> None:
    found = world.install(attempts=1)
    script, done = failing(1, times=1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    assert await world.states() == [("e1", "dead", 1)]
    await DeadLetterQueries(world.pool, now=world.clock).replay(Selection(organization="acme"), [found.id], "r1")
    await worker.until(world.in_states("succeeded"))
    copy = arrival(world.notes, 2, event_id="e1")
    copy.seen_before = False
    await worker.consume(copy)
    await world.notes.until_finished(2)
    assert (done, len(await effects(world.pool))) == ([1], 1)


async def test_without_order_later_events_of_a_key_go_on(world: World) -> None:
    world.install()
    script, done = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert done == [2]


async def test_an_event_that_comes_while_its_key_is_being_written_down_stays_behind(world: World) -> None:
    """The ledger cannot say yet that the key waits; the worker itself knows."""
    world.install(ordered=True)
    script, done = failing(1, times=1)
    worker = world.worker(script)
    hold = await world.pool.acquire()
    try:
        transaction = hold.transaction()
        await transaction.start()
        await hold.execute("LOCK TABLE attempt_ledger IN EXCLUSIVE MODE")  # reads go on, writes wait
        await worker.consume(arrival(world.notes, 1))
        async with asyncio.timeout(5):
            while not world.notes.failures:  # noqa: ASYNC110  a plain callback
                await asyncio.sleep(0.001)
        await worker.consume(arrival(world.notes, 2))
        assert (done, world.notes.finished) == ([], [])
        await transaction.rollback()
    finally:
        await world.pool.release(hold)
    await world.notes.until_finished(2)
    assert [event for event, _, _ in await world.states()] == ["e1", "e2"]
    world.clock.pass_by(seconds=10)
    await worker.until(world.in_states("succeeded", "succeeded"))
    assert done == [1, 2]


async def test_an_event_whose_guest_ended_with_others_in_it_has_the_next_one_for_itself(world: World) -> None:
    world.install()
    done: list[bool] = []

    async def script(api: Api, call: GuestCall) -> bytes | None:
        alone = worker.sandbox.calls[-1][1]
        if not alone:
            raise PluginInterrupted("the guest ended")
        await api("events.emit", {"event": "done", "data": {}})
        done.append(alone)
        return None

    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert await world.states() == [("e1", "waiting", 0), ("e2", "waiting", 0)]
    await worker.until(world.in_states("succeeded", "succeeded"))
    assert (done, world.notes.failures) == ([True, True], [])


async def test_a_slow_plugins_events_go_by_the_ledger_while_others_wait_for_nothing(world: World) -> None:
    found = world.install()
    gate = asyncio.Event()
    done: list[int] = []

    async def script(_: Api, call: GuestCall) -> bytes | None:
        await gate.wait()
        done.append(number(call))
        return None

    worker = world.worker(script)
    hooks = worker.dispatcher.hooks
    full = True
    parking = Parking(hooks, lambda: full, most=1_000)
    await worker.consume(*(arrival(world.notes, offset) for offset in range(1, 5)))
    await parking.look(1)
    assert await world.states() == []  # seen for the first time: it may be fast
    await parking.look(1)
    assert [event for event, _, _ in await world.states()] == ["e2", "e3", "e4"]
    assert world.notes.finished == [2, 3, 4]
    await worker.consume(arrival(world.notes, 5, key="another"))
    await world.notes.until_finished(4)
    assert [event for event, _, _ in await world.states()] == ["e2", "e3", "e4", "e5"]
    gate.set()
    await worker.until(world.in_states(*["succeeded"] * 4))
    assert [each for each in done if each != 5] == [1, 2, 3, 4]
    await worker.runner.turn()
    await worker.consume(arrival(world.notes, 6))
    await world.notes.until_finished(6)
    assert len(await world.states()) == 4
    assert found.id not in hooks.failures.waiting_keys.slow


async def test_nobody_waits_while_the_events_of_a_slow_plugin_are_written_down(world: World) -> None:
    slow = world.install()
    script, done = failing()
    worker = world.worker(script)
    worker.dispatcher.hooks.failures.waiting_keys.slow.add(slow.id)
    world.directory.put(installation("another-plugin"))
    async with world.pool.acquire() as hold, hold.transaction():
        await hold.execute("LOCK TABLE attempt_ledger IN EXCLUSIVE MODE")
        await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2, key="another"))
        async with asyncio.timeout(5):
            while len(done) < 2:  # noqa: ASYNC110  a plain list
                await asyncio.sleep(0.001)
        assert world.notes.finished == []
    await world.notes.until_finished(2)
    assert [event for event, _, _ in await world.states()] == ["e1", "e2"]


async def test_a_slow_plugin_is_parked_while_there_is_room_for_others_still(world: World) -> None:
    world.install()

    async def hanging(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    worker = world.worker(hanging)
    parking = Parking(worker.dispatcher.hooks, lambda: False, most=2)
    for last, kept in ((3, []), (4, ["e2", "e3", "e4"])):
        await worker.consume(*(arrival(world.notes, offset) for offset in range(1 if last == 3 else last, last + 1)))
        for _ in range(LOOKS):
            assert await world.states() == []  # it may be a moment's matter
            await parking.look(1)
        assert [event for event, _, _ in await world.states()] == kept


async def test_a_fast_plugin_is_not_parked_however_much_waits(world: World) -> None:
    world.install()
    script, done = failing()
    worker = world.worker(script)
    parking = Parking(worker.dispatcher.hooks, lambda: True, most=1_000)
    await parking.look(1)
    await worker.consume(*(arrival(world.notes, offset, key=f"k{offset}") for offset in range(1, 50)))
    await parking.look(1)
    await world.notes.until_finished(49)
    assert (await world.states(), len(done)) == ([], 49)


async def test_an_event_that_can_never_be_read_is_a_dead_letter_at_once(world: World) -> None:
    world.install()

    async def unreadable(_: Api, __: GuestCall) -> bytes | None:
        raise PluginFailed("invalid_event", "event 'e1': not JSON")

    worker = world.worker(unreadable)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    assert await world.states() == [("e1", "dead", 1)]
    assert [letter["code"] for letter in await published(world.pool)] == ["invalid_event"]


async def test_what_was_deactivated_waits_without_losing_attempts(world: World) -> None:
    found = world.install()
    script, done = failing(1, times=1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.directory.put(msgspec.structs.replace(found, status="inactive", revision=2))
    world.clock.pass_by(hours=1)
    assert await worker.runner.turn() == 0
    assert await world.states() == [("e1", "waiting", 1)]
    world.directory.put(msgspec.structs.replace(found, status="active", revision=3))
    await worker.until(world.in_states("succeeded"))
    assert done == [1]


async def test_a_stopping_worker_gives_back_what_it_holds_as_if_never_taken(world: World) -> None:
    world.install()
    script, _ = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)

    async def forever(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    stopping = world.worker(forever, "stopping")
    world.clock.pass_by(seconds=10)
    assert await stopping.runner.turn() == 1
    assert await world.states() == [("e1", "waiting", 2)]
    await stopping.dispatcher.hooks.close()
    await stopping.runner.close()
    assert await world.states() == [("e1", "waiting", 1)]
    assert await worker.runner.turn() == 1  # at once, by another


async def test_a_zombie_that_fails_after_its_lease_was_lost_changes_nothing(world: World) -> None:
    world.install(attempts=8)
    script, _ = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    gate = asyncio.Event()

    async def late(_: Api, __: GuestCall) -> bytes | None:
        await gate.wait()
        raise PluginFailed("plugin_raised", "late")

    zombie = world.worker(late, "zombie")
    world.clock.pass_by(seconds=10)
    assert await zombie.runner.turn() == 1
    world.clock.pass_by(seconds=LEASE.total_seconds() + 1)
    other, _ = failing()
    survivor = world.worker(other, "survivor")
    await survivor.until(world.in_states("succeeded"))
    gate.set()
    async with asyncio.timeout(5):
        while len(world.notes.failures) < 2:  # noqa: ASYNC110  a plain callback
            await asyncio.sleep(0.001)
    await zombie.runner.turn()
    assert await world.states() == [("e1", "succeeded", 3)]


def test_pauses_double_are_capped_and_are_cut_at_random() -> None:
    policy = RetryPolicy(attempts=8, first_pause=10, longest_pause=60)
    plain = HookDeclaration(event="sale.created")
    assert [policy.pause(plain, failures, 1.0).total_seconds() for failures in (1, 2, 3, 4, 99)] == [10, 20, 40, 60, 60]
    assert policy.pause(plain, 2, 0.25).total_seconds() == 5
    own = HookDeclaration(event="sale.created", attempts=20, first_pause_seconds=1, longest_pause_seconds=1_000)
    assert [policy.pause(own, failures, 1.0).total_seconds() for failures in (1, 10)] == [1, 60]
    assert (policy.most_attempts(plain), policy.most_attempts(own)) == (8, 8)


async def test_events_of_a_paused_installation_are_kept_and_run_once_it_is_active_again(world: World) -> None:
    found = world.install()
    script, done = failing()
    worker = world.worker(script)
    world.directory.put(msgspec.structs.replace(found, status="inactive", backlog="pause", revision=2))
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert await worker.runner.turn() == 0
    assert (done, await world.states()) == ([], [("e1", "waiting", 0), ("e2", "waiting", 0)])
    world.directory.put(msgspec.structs.replace(found, status="active", backlog="none", revision=3))
    await worker.consume(arrival(world.notes, 3))
    await worker.until(world.in_states("succeeded", "succeeded", "succeeded"))
    assert done == [1, 2, 3]  # one key: the new one has not overtaken those that were kept


async def test_what_is_drained_runs_and_nothing_new_does(world: World) -> None:
    found = world.install()
    script, done = failing(1, times=1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    world.directory.put(msgspec.structs.replace(found, status="inactive", backlog="drain", revision=2))
    await worker.consume(arrival(world.notes, 2))
    await world.notes.until_finished(2)
    world.clock.pass_by(seconds=10)
    await worker.until(world.in_states("succeeded"))
    assert done == [1]


async def test_what_an_open_breaker_holds_is_tried_a_few_at_a_time_and_drains_when_it_closes(world: World) -> None:
    found = world.install()
    gate = asyncio.Event()
    begun: list[int] = []

    async def script(_: Api, call: GuestCall) -> bytes | None:
        begun.append(number(call))
        await gate.wait()
        return None

    worker = world.worker(script)
    opened = Breaker(state="open", reason="9 of 10 runs failed")
    world.directory.put(msgspec.structs.replace(found, status="error", breaker=opened, revision=2))
    await worker.consume(*(arrival(world.notes, offset, key=f"k{offset}") for offset in range(1, 6)))
    await world.notes.until_finished(5)
    assert await worker.runner.turn() == 0
    probing = msgspec.structs.replace(opened, state="half_open", probes=2)
    world.directory.put(msgspec.structs.replace(found, status="error", breaker=probing, revision=3))
    assert await worker.runner.turn() == 2
    assert await worker.runner.turn() == 0
    async with asyncio.timeout(5):
        while len(begun) < 2:  # noqa: ASYNC110  the plugin of the test says so
            await asyncio.sleep(0.001)
    world.directory.put(msgspec.structs.replace(found, status="active", revision=4))
    gate.set()
    await worker.until(world.in_states(*["succeeded"] * 5))
    assert sorted(begun) == [1, 2, 3, 4, 5]


async def test_a_backlog_is_discarded_with_the_lifecycle_hook_that_it_was_asked_with(world: World) -> None:
    found = world.install()
    script, _ = failing(1)
    worker = world.worker(script)
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)

    async def succeed(_: Api, __: GuestCall) -> bytes | None:
        return None

    noted: Any = world.notes
    sandbox: Any = ScriptedSandbox(succeed)
    invoker = Invoker(world.pool, sandbox, resources(), noted)
    operation = Invocation(found, "lifecycle", "onDeactivate", "urn:op", "1", None, b"", 5.0, discards_backlog=True)
    await invoker.run(operation)
    assert await world.states() == [("e1", "discarded", 1)]
    world.clock.pass_by(hours=2)
    assert await worker.runner.turn() == 0


async def test_events_that_come_during_an_update_run_in_the_new_version_in_their_order(world: World) -> None:
    found = world.install()
    script, done = failing()
    worker = world.worker(script)
    world.directory.put(msgspec.structs.replace(found, updating=True, revision=2))
    await worker.consume(arrival(world.notes, 1), arrival(world.notes, 2))
    await world.notes.until_finished(2)
    assert await worker.runner.turn() == 0
    assert (done, await world.states()) == ([], [("e1", "waiting", 0), ("e2", "waiting", 0)])
    world.directory.put(msgspec.structs.replace(found, version="1.1.0", digest="sha256:11", revision=3))
    await worker.consume(arrival(world.notes, 3))
    await worker.until(world.in_states("succeeded", "succeeded", "succeeded"))
    assert done == [1, 2, 3]


async def test_an_event_whose_hook_the_new_version_does_not_have_is_a_dead_letter_and_no_failure(world: World) -> None:
    found = world.install()
    script, done = failing()
    worker = world.worker(script)
    world.directory.put(msgspec.structs.replace(found, updating=True, revision=2))
    await worker.consume(arrival(world.notes, 1))
    await world.notes.until_finished(1)
    manifest = msgspec.structs.replace(found.manifest, hooks=(HookDeclaration(event="product.created"),))
    world.directory.put(msgspec.structs.replace(found, manifest=manifest, digest="sha256:11", revision=3))
    await worker.until(world.in_states("dead"))
    assert (done, world.notes.failures) == ([], [])
    assert [letter["code"] for letter in await published(world.pool)] == ["hook_gone"]
