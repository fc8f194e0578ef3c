"""From a record to the hooks that listen, and to the moment its offset may be committed."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
from aiokafka import ConsumerRecord

from outlet.manifest import HookDeclaration, Host
from services.common.directory import Directory, Installation, Variant
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures, RetryPolicy
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.invocation import source_of
from services.runtime.invoker import Invoker
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall
from tests.runtime.delivery.letters import published
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox, raising

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@dataclass
class Notes:
    """What the dispatcher reports and keeps."""

    failures: list[PluginFailed] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)
    retries: list[bool] = field(default_factory=list)
    """Of each run that was a further attempt, whether it failed."""
    finished: list[int] = field(default_factory=list)
    crashes: list[BaseException] = field(default_factory=list)

    @property
    def offsets(self) -> Any:
        """Stands for the offsets of a partition."""
        return self

    def retried(self, _: Installation, hook: str, store: str, *, failed: bool) -> None:
        self.retries.append(failed)

    def hook_ran(self, _: Installation, hook: str, store: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.runs.append((hook, store))

    def api_called(self, _: Installation) -> None:
        return None

    def failed(self, _: Installation, during: str, failure: PluginFailed, event_id: str, store: str) -> None:
        assert store == "s1"
        assert (during, bool(event_id)) == ("sale.created", True)
        self.failures.append(failure)

    def finish(self, offset: int) -> None:
        self.finished.append(offset)

    async def until_finished(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.finished) < count:  # noqa: ASYNC110  finishing is a plain callback
                await asyncio.sleep(0.005)


def arrival(notes: Notes, number: int, *, key: str = "acme/s1/1", event_id: str | None = None) -> Arrival:
    event = DomainEvent(
        event_id or f"e{number}",
        "sale.created",
        "urn:pos",
        "2026-11-01T12:00:00Z",
        "acme",
        "s1",
        json.dumps({"id": "1", "number": number}).encode(),
    )
    record: ConsumerRecord[bytes, bytes] = ConsumerRecord(
        "outlet.events.sale", 0, number, 0, 0, key.encode(), event.data, None, 0, len(event.data), event.headers()
    )
    return Arrival(record, event, notes.offsets)


def scripted_dispatcher(
    directory: Directory, pool: Pool, sandbox: ScriptedSandbox, notes: Notes, webhooks: WebhookFeed | None = None
) -> Dispatcher:
    """A dispatcher as a worker has it, but for its sandbox and what it reports to."""
    scripted: Any = sandbox
    noted: Any = notes
    invoker = Invoker(pool, scripted, resources(webhooks=webhooks or WebhookFeed()), noted)
    ledger = Ledger(pool, "tests")
    failures = Failures(ledger, RetryPolicy())
    hooks = Hooks(directory, scripted, invoker, noted, failures, deadline=5.0)
    hooks.crashed = notes.crashes.append
    return Dispatcher(directory, pool, ledger, hooks, webhooks)


@dataclass
class Bench:
    directory: Directory
    pool: Pool
    notes: Notes

    def dispatcher(self, script: Script) -> tuple[Dispatcher, ScriptedSandbox]:
        sandbox = ScriptedSandbox(script)
        return scripted_dispatcher(self.directory, self.pool, sandbox, self.notes), sandbox

    async def run(self, dispatcher: Dispatcher, *arrivals: Arrival) -> None:
        await dispatcher.dispatch(list(arrivals))


@pytest.fixture
def bench(runtime_pool: Pool) -> Bench:
    directory = Directory()
    directory.put(installation())
    return Bench(directory, runtime_pool, Notes())


async def write(api: Api, _: GuestCall) -> bytes | None:
    await api("events.emit", {"event": "done", "data": {}})
    return None


async def test_a_record_is_finished_once_every_hook_has_ended(bench: Bench) -> None:
    gate, all_called = asyncio.Event(), asyncio.Event()
    slow = installation("slow-plugin")
    bench.directory.put(slow)

    async def script(_: Api, call: GuestCall) -> bytes | None:
        if len(sandbox.calls) == 2:
            all_called.set()
        if call.scope.installation_id == slow.id:
            await gate.wait()
        return None

    dispatcher, sandbox = bench.dispatcher(script)
    await bench.run(dispatcher, arrival(bench.notes, 1))
    await asyncio.wait_for(all_called.wait(), 10)
    assert bench.notes.finished == []
    gate.set()
    await bench.notes.until_finished(1)


async def test_a_record_that_nobody_listens_to_is_finished_at_once(bench: Bench) -> None:
    dispatcher, sandbox = bench.dispatcher(write)
    foreign = arrival(bench.notes, 1)
    event = DomainEvent("e", "sale.created", "urn:pos", "t", "globex", "s1", b"{}")
    await bench.run(dispatcher, Arrival(foreign.record, event, bench.notes.offsets))
    assert bench.notes.finished == [1]
    assert sandbox.calls == []


async def test_a_redelivered_event_is_finished_without_calling_the_plugin(bench: Bench) -> None:
    dispatcher, sandbox = bench.dispatcher(write)
    await bench.run(dispatcher, arrival(bench.notes, 1))
    await bench.notes.until_finished(1)
    await bench.run(dispatcher, arrival(bench.notes, 2, event_id="e1"))
    await bench.notes.until_finished(2)
    assert len(sandbox.calls) == 1


async def test_the_same_event_twice_in_one_batch_has_one_effect(bench: Bench) -> None:
    dispatcher, _ = bench.dispatcher(write)
    await bench.run(dispatcher, arrival(bench.notes, 1), arrival(bench.notes, 2, event_id="e1"))
    await bench.notes.until_finished(2)
    assert await bench.pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_events_of_one_key_run_in_order_and_of_other_keys_beside_them(bench: Bench) -> None:
    order: list[int] = []
    gate = asyncio.Event()

    async def script(_: Api, call: GuestCall) -> bytes | None:
        number = msgspec.json.decode(msgspec.msgpack.decode(call.payload)[-1])["number"]
        if number == 1:
            await gate.wait()
        order.append(number)
        return None

    dispatcher, _ = bench.dispatcher(script)
    await bench.run(
        dispatcher, arrival(bench.notes, 1), arrival(bench.notes, 2), arrival(bench.notes, 3, key="acme/s1/2")
    )
    await bench.notes.until_finished(1)
    assert order == [3]
    gate.set()
    await bench.notes.until_finished(3)
    assert order == [3, 1, 2]


async def test_events_of_stores_that_differ_keep_the_order_of_their_key_and_each_its_own_grants(bench: Bench) -> None:
    found = bench.directory.listeners("sale.created", "acme", "s1")[0]
    withheld = Variant(place="store:s2", stores=("s2",), config={"rate": 2}, grants=())
    found = msgspec.structs.replace(
        found, revision=2, config={"rate": 1}, grants=("notify:send",), variants=(withheld,)
    )
    bench.directory.put(found)
    seen: list[tuple[int, int, str]] = []

    async def script(api: Api, call: GuestCall) -> bytes | None:
        number = msgspec.json.decode(msgspec.msgpack.decode(call.payload)[-1])["number"]
        rate = msgspec.msgpack.decode(call.scope.payload)["config"]["rate"]
        try:
            await api("notices.send", {"user": "u", "title": "t", "message": "hello"})
        except ApiRefusal as refusal:
            seen.append((number, rate, refusal.code))
        else:
            seen.append((number, rate, "sent"))
        return None

    dispatcher, _ = bench.dispatcher(script)
    arrivals = [arrival(bench.notes, number) for number in range(6)]
    for each in arrivals[1::2]:
        each.event = msgspec.structs.replace(each.event, store="s2")
    await bench.run(dispatcher, *arrivals)
    await bench.notes.until_finished(6)
    outcomes = ((1, "sent"), (2, "permission_denied"))
    assert seen == [(number, *outcomes[number % 2]) for number in range(6)]
    assert bench.notes.crashes == []


async def test_a_failing_hook_is_reported_and_its_event_kept_for_another_attempt(bench: Bench) -> None:
    dispatcher, _ = bench.dispatcher(raising)
    await bench.run(dispatcher, arrival(bench.notes, 1))
    await bench.notes.until_finished(1)
    assert [failure.code for failure in bench.notes.failures] == ["plugin_raised"]
    assert bench.notes.runs == [("sale.created", "s1")]
    assert await published(bench.pool) == []
    (kept,) = await bench.pool.fetch("SELECT state, attempts, code, message FROM attempt_ledger")
    assert tuple(kept) == ("waiting", 1, "plugin_raised", "ValueError: no")


async def test_what_is_deactivated_while_its_event_waits_does_not_run(bench: Bench) -> None:
    found = bench.directory.listeners("sale.created", "acme", "s1")[0]

    async def deactivate(_: Api, __: GuestCall) -> bytes | None:
        bench.directory.put(msgspec.structs.replace(found, status="inactive", revision=2))
        return None

    dispatcher, sandbox = bench.dispatcher(deactivate)
    await bench.run(dispatcher, arrival(bench.notes, 1), arrival(bench.notes, 2))
    await bench.notes.until_finished(2)
    assert len(sandbox.calls) == 1


async def test_what_cannot_be_brought_to_an_end_is_not_finished_and_stops_the_worker(bench: Bench) -> None:
    async def defect(_: Api, __: GuestCall) -> bytes | None:
        raise RuntimeError("a defect of the host")

    dispatcher, _ = bench.dispatcher(defect)
    await bench.run(dispatcher, arrival(bench.notes, 1))
    async with asyncio.timeout(5):
        while not bench.notes.crashes:  # noqa: ASYNC110  a plain callback
            await asyncio.sleep(0.005)
    assert bench.notes.finished == []


async def test_closing_ends_what_runs_without_finishing_it(bench: Bench) -> None:
    async def forever(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    dispatcher, _ = bench.dispatcher(forever)
    await bench.run(dispatcher, arrival(bench.notes, 1))
    await dispatcher.hooks.close()
    assert (bench.notes.finished, bench.notes.crashes) == ([], [])


@pytest.mark.parametrize("hosts", [(), (Host(name="api.example.com", purpose="tests"),)], ids=["shared", "of its own"])
async def test_closing_leaves_no_connection_to_a_hook_that_has_only_just_made_its_first_call(
    bench: Bench, hosts: tuple[Host, ...]
) -> None:
    dispatcher, _ = bench.dispatcher(write)
    hooks = dispatcher.hooks
    running = hooks.open(hooks.stray(arrival(bench.notes, 1), installation(hosts=hosts)))
    answering = asyncio.ensure_future(running.api("events.emit", {"event": "done", "data": {}}))
    running.start(answering, notice=False)
    await hooks.close()
    await asyncio.wait([answering])
    async with asyncio.timeout(1):
        while bench.pool.get_idle_size() < bench.pool.get_size():  # noqa: ASYNC110  a pool tells nobody
            await asyncio.sleep(0.005)


def customer_arrival(notes: Notes) -> Arrival:
    data = json.dumps({"id": "c1", "name": "Ada", "tier": "gold"}).encode()
    event = DomainEvent("e1", "customer.updated", "urn:pos", "2026-11-01T12:00:00Z", "acme", "s1", data)
    return Arrival(arrival(notes, 1).record, event, notes.offsets)


async def test_a_hook_sees_of_people_what_its_installation_was_granted(bench: Bench) -> None:
    hooks = (HookDeclaration(event="customer.updated"),)
    plain = installation("plain", hooks=hooks)
    trusted = installation("trusted", hooks=hooks, grants=("customer:personal-data",))
    for found in (plain, trusted):
        bench.directory.put(found)
    seen: dict[str, Any] = {}

    async def script(_: Api, call: GuestCall) -> bytes | None:
        seen[call.scope.installation_id] = msgspec.json.decode(msgspec.msgpack.decode(call.payload)[-1])
        return None

    dispatcher, _ = bench.dispatcher(script)
    await bench.run(dispatcher, customer_arrival(bench.notes))
    await bench.notes.until_finished(1)
    assert seen == {
        plain.id: {"id": "c1", "tier": "gold"},
        trusted.id: {"id": "c1", "name": "Ada", "tier": "gold"},
    }


async def test_a_plugin_is_not_called_for_its_own_change(bench: Bench) -> None:
    found = bench.directory.listeners("sale.created", "acme", "s1")[0]
    other = installation("other-plugin")
    bench.directory.put(other)
    dispatcher, sandbox = bench.dispatcher(write)
    own = arrival(bench.notes, 1)
    await bench.run(
        dispatcher,
        Arrival(own.record, msgspec.structs.replace(own.event, source=source_of(found)), bench.notes.offsets),
    )
    await bench.notes.until_finished(1)
    assert [call.scope.installation_id for call, _ in sandbox.calls] == [other.id]
