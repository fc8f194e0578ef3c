"""Background work is brought to its end once: through failures, killed workers, deactivation and repetition."""

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
from opentelemetry.trace import SpanKind

from outlet import _values
from outlet._calls import JobCall, TickCall
from outlet.manifest import JobDeclaration, ScheduleDeclaration
from services.common.directory import Breaker, Directory, Installation, Variant
from services.common.runtime_client import PluginFailed
from services.common.tracing import OFF, Tracing
from services.runtime.background import work
from services.runtime.background.jobs import AT_ONCE, LEASE, PER_INSTALLATION, BackgroundRunner
from services.runtime.background.scheduler import Scheduler
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.session import PluginApiSession
from services.runtime.sandbox import GuestCall
from tests.runtime.background.clock import Clock
from tests.runtime.delivery.letters import published
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox, raising
from tests.support.spans import REMOTE, TRACE_ID, recording

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
EMIT: tuple[str, dict[str, Any]] = ("events.emit", {"event": "done", "data": {}})


@dataclass
class Notes:
    """What the runner reports and keeps."""

    failures: list[tuple[str, str | None]] = field(default_factory=list)
    runs: list[tuple[str, str | None]] = field(default_factory=list)
    retries: list[bool] = field(default_factory=list)

    def retried(self, _: Installation, hook: str, store: str | None, *, failed: bool) -> None:
        self.retries.append(failed)

    def hook_ran(self, _: Installation, hook: str, store: str | None, seconds: float) -> None:
        assert seconds > 0
        self.runs.append((hook, store))

    def api_called(self, _: Installation) -> None:
        return None

    def failed(self, _: Installation, during: str, failure: PluginFailed, event_id: str, __: str | None) -> None:
        self.failures.append((f"{during}: {failure.code}", event_id))


class Platform:
    """One installation that can enqueue, and any number of workers on one database."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = Clock()
        self.notes = Notes()
        self.directory = Directory()
        self.installation = self.install()

    def install(self, **options: Any) -> Installation:
        jobs = (JobDeclaration(name="export"), JobDeclaration(name="mail"))
        schedules = (ScheduleDeclaration(name="nightly", cron="0 2 * * *", timezone="Europe/Berlin"),)
        made = installation(jobs=jobs, schedules=schedules, **options)
        self.directory.put(made)
        return made

    def worker(self, script: Script, tracing: Tracing = OFF) -> tuple[BackgroundRunner, ScriptedSandbox]:
        sandbox = ScriptedSandbox(script)
        notes: Any = self.notes
        invoker = Invoker(self.pool, sandbox, resources(tracing=tracing), notes)  # type: ignore[arg-type]
        runner = BackgroundRunner(
            self.directory,
            self.pool,
            invoker,
            notes,
            deadline=5.0,
            now=self.clock,
            chance=lambda: 1.0,
            tracing=tracing,
        )
        return runner, sandbox

    async def enqueue(self, *calls: dict[str, Any], found: Installation | None = None, keep: bool = True) -> list[str]:
        """Enqueue jobs in one hook's transaction."""
        invocation = Invocation(
            found or self.installation, "hook", "sale.created", "urn:pos", uuid.uuid4().hex, "s1", b"", 5.0
        )
        unit = UnitOfWork(self.pool, invocation.key)
        session = PluginApiSession(Context(invocation, unit, resources()))
        try:
            made = [await session("jobs.enqueue", call) for call in calls]
            if keep:
                await unit.commit()
        finally:
            await unit.rollback()
        self.clock.now = max(self.clock.now, datetime.now(UTC))
        return made

    async def waiting(self) -> int:
        count: int = await self.pool.fetchval("SELECT count(*) FROM background_work")
        return count

    async def effects(self) -> int:
        count: int = await self.pool.fetchval("SELECT count(*) FROM outbox")
        return count


@pytest.fixture
async def platform(runtime_pool: Pool) -> Platform:
    return Platform(runtime_pool)


async def emit(api: Api, _: GuestCall) -> bytes | None:
    await api(*EMIT)
    return None


async def all_of(runner: BackgroundRunner) -> int:
    """Run everything that is due; the number of pieces."""
    ran = 0
    while started := await runner.turn():
        await asyncio.gather(*started)
        ran += len(started)
    return ran


async def test_a_job_runs_after_the_hook_that_enqueued_it_was_committed(platform: Platform) -> None:
    payload = {"to": "x@y.z", "total": Decimal("9.90"), "at": datetime(2026, 5, 1, tzinfo=UTC), "raw": b"\0"}
    [made] = await platform.enqueue({"name": "mail", "payload": payload})
    runner, sandbox = platform.worker(emit)
    assert await all_of(runner) == 1
    call = sandbox.calls[0][0]
    assert (call.kind, call.target) == ("job", "mail")
    job = msgspec.msgpack.decode(call.payload, type=JobCall)
    assert (job.id, job.name, job.attempt) == (made, "mail", 1)
    assert _values.decode(job.payload) == payload
    assert (await platform.effects(), await platform.waiting()) == (1, 0)


async def test_a_job_runs_with_what_is_in_effect_in_its_store(platform: Platform) -> None:
    here = Variant(place="store:s1", stores=("s1",), config={"rate": 2}, grants=("sale:read",))
    found = msgspec.structs.replace(platform.installation, revision=2, variants=(here,))
    platform.directory.put(found)
    await platform.enqueue({"name": "mail"}, found=found.at("s1"))
    runner, sandbox = platform.worker(emit)
    assert await all_of(runner) == 1
    scope = sandbox.calls[0][0].scope
    assert (scope.variant, msgspec.msgpack.decode(scope.payload)["config"]) == ("store:s1", {"rate": 2})


async def test_a_hook_that_is_undone_enqueues_nothing(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"}, {"name": "mail", "key": "k"}, keep=False)
    assert await platform.waiting() == 0
    await platform.enqueue({"name": "mail", "key": "k"})
    assert await platform.waiting() == 1


async def test_a_delayed_job_waits_for_its_time(platform: Platform) -> None:
    await platform.enqueue(
        {"name": "mail", "delay": 60}, {"name": "mail", "at": datetime.now(UTC) + timedelta(seconds=120)}
    )
    runner, _ = platform.worker(emit)
    assert await all_of(runner) == 0
    platform.clock.forward(seconds=61)
    assert await all_of(runner) == 1
    platform.clock.forward(seconds=61)
    assert await all_of(runner) == 1


async def test_a_moment_that_has_passed_is_now(platform: Platform) -> None:
    await platform.enqueue({"name": "mail", "at": datetime(2020, 1, 1, tzinfo=UTC)})
    runner, _ = platform.worker(emit)
    assert await all_of(runner) == 1


async def test_a_key_enqueues_one_job_however_often_and_wherever_it_is_used(platform: Platform) -> None:
    keyed = {"name": "mail", "key": "receipt-1"}
    made = await asyncio.gather(*(platform.enqueue(keyed) for _ in range(5)))
    assert len({job for jobs in made for job in jobs}) == 1
    runner, _ = platform.worker(emit)
    assert await all_of(runner) == 1
    await platform.enqueue(keyed)
    assert await all_of(runner) == 0
    await platform.enqueue({"name": "export", "key": "receipt-1"})
    await platform.enqueue(keyed, found=platform.install(store="s2"))
    assert await all_of(runner) == 2


async def test_many_workers_run_each_job_once(platform: Platform) -> None:
    await platform.enqueue(*({"name": "mail", "payload": number} for number in range(60)))
    workers = [platform.worker(emit) for _ in range(4)]
    await asyncio.gather(*(all_of(runner) for runner, _ in workers))
    assert sum(len(sandbox.calls) for _, sandbox in workers) == 60
    assert (await platform.effects(), await platform.waiting()) == (60, 0)


async def test_a_job_whose_worker_is_killed_before_the_commit_is_run_by_another(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    reached = asyncio.Event()

    async def stuck(api: Api, _: GuestCall) -> bytes | None:
        await api(*EMIT)
        reached.set()
        await asyncio.Event().wait()
        return None

    killed, _ = platform.worker(stuck)
    [task] = await killed.turn()
    await reached.wait()
    task.cancel()  # what a SIGKILL leaves: no commit, nothing given back
    await asyncio.wait([task])
    other, _ = platform.worker(emit)
    assert await all_of(other) == 0
    platform.clock.now += LEASE
    assert await all_of(other) == 1
    assert (await platform.effects(), await platform.waiting()) == (1, 0)


async def test_a_job_whose_worker_is_killed_after_the_commit_has_its_effect_once(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    row = await platform.pool.fetchrow("SELECT * FROM background_work")
    runner, _ = platform.worker(emit)
    await all_of(runner)
    columns = ", ".join(row.keys())
    places = ", ".join(f"${number + 1}" for number in range(len(row)))
    await platform.pool.execute(f"INSERT INTO background_work ({columns}) VALUES ({places})", *row.values())  # noqa: S608
    assert await all_of(runner) == 1
    assert (await platform.effects(), await platform.waiting()) == (1, 0)


async def test_a_worker_that_hangs_loses_its_lease_and_stops_when_it_comes_back(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})

    async def forever(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    hanging, _ = platform.worker(forever)
    [task] = await hanging.turn()
    await hanging.renew()
    assert not task.done()
    platform.clock.now += LEASE
    other, _ = platform.worker(emit)
    assert await all_of(other) == 1
    await hanging.renew()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_renewed_lease_holds(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    gate = asyncio.Event()

    async def slow(_: Api, __: GuestCall) -> bytes | None:
        await gate.wait()
        return None

    runner, _ = platform.worker(slow)
    [task] = await runner.turn()
    other, _ = platform.worker(emit)
    for _ in range(3):
        platform.clock.now += LEASE / 2
        await runner.renew()
        assert await other.turn() == []
    gate.set()
    await task


async def test_a_worker_that_stops_gives_its_work_back_at_once(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})

    async def forever(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    stopping, _ = platform.worker(forever)
    await stopping.turn()
    await stopping.close()
    other, _ = platform.worker(emit)
    assert await all_of(other) == 1


async def test_a_failing_job_is_tried_eight_times_with_growing_pauses_and_then_kept(platform: Platform) -> None:
    [made] = await platform.enqueue({"name": "mail", "payload": {"total": Decimal("9.90")}})
    runner, sandbox = platform.worker(raising)
    pauses = []
    while await platform.waiting():
        assert await all_of(runner) == 1
        due = await platform.pool.fetchval("SELECT due_at FROM background_work")
        if due is not None:
            pauses.append((due - platform.clock()).total_seconds())
            platform.clock.now = due
    assert pauses == [10, 20, 40, 80, 160, 320, 640]
    attempts = [msgspec.msgpack.decode(call.payload, type=JobCall).attempt for call, _ in sandbox.calls]
    assert attempts == [1, 2, 3, 4, 5, 6, 7, 8]
    assert platform.notes.failures == [("job mail: plugin_raised", made)] * 8
    assert platform.notes.retries == [True] * 7
    [facts] = await published(platform.pool)
    told = {name: facts[f"ce_{name}"] for name in ("id", "type", "organization", "store")}
    assert told == {"id": made, "type": "loyalty-points/mail", "organization": "acme", "store": "s1"}
    assert json.loads(await platform.pool.fetchval("SELECT value FROM outbox")) == {"total": "9.90"}
    assert facts["code"] == "plugin_raised"
    assert {name: facts[name] for name in ("kind", "name", "attempts", "installation")} == {
        "kind": "job",
        "name": "mail",
        "attempts": "8",
        "installation": platform.installation.id,
    }


async def test_the_last_failure_of_a_job_whose_effects_another_worker_committed_makes_no_dead_letter(
    platform: Platform,
) -> None:
    await platform.enqueue({"name": "mail"})
    overtaken, _ = platform.worker(raising)
    for _ in range(7):
        assert await all_of(overtaken) == 1
        platform.clock.forward(hours=1)

    async def late(_: Api, __: GuestCall) -> bytes | None:
        await platform.pool.execute(
            "INSERT INTO inbox (installation_id, target, source, id) "
            "SELECT installation_id, name, $1, id FROM background_work",
            work.JOBS,
        )
        raise PluginFailed("plugin_raised", "too late")

    last, _ = platform.worker(late)
    assert await all_of(last) == 1
    assert (await platform.waiting(), await published(platform.pool)) == (0, [])


async def test_a_failed_attempt_keeps_nothing_and_the_next_one_can_succeed(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})

    async def second_time(api: Api, call: GuestCall) -> bytes | None:
        await api(*EMIT)
        if msgspec.msgpack.decode(call.payload, type=JobCall).attempt == 1:
            raise PluginFailed("plugin_raised", "not yet")
        return None

    runner, _ = platform.worker(second_time)
    assert await all_of(runner) == 1
    assert await platform.effects() == 0
    platform.clock.forward(seconds=11)
    assert await all_of(runner) == 1
    assert (await platform.effects(), await platform.waiting()) == (1, 0)


async def test_jobs_of_what_is_deactivated_wait_until_it_is_active_again(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    found = platform.installation
    platform.directory.put(msgspec.structs.replace(found, status="inactive", revision=2))
    runner, _ = platform.worker(emit)
    assert await all_of(runner) == 0
    platform.directory.put(msgspec.structs.replace(found, revision=3))
    assert await all_of(runner) == 1


async def test_what_is_deactivated_after_the_lease_is_given_back_and_not_run(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    runner, sandbox = platform.worker(emit)
    started = await runner.turn()
    platform.directory.put(msgspec.structs.replace(platform.installation, status="inactive", revision=2))
    await asyncio.gather(*started)
    assert sandbox.calls == []
    assert await platform.waiting() == 1


async def test_a_plugin_with_many_slow_jobs_leaves_room_for_others(platform: Platform) -> None:
    await platform.enqueue(*({"name": "export"} for _ in range(AT_ONCE + 8)))
    await platform.enqueue({"name": "mail"}, found=platform.install(store="s2"))

    async def slow(_: Api, call: GuestCall) -> bytes | None:
        if call.target == "export":
            await asyncio.Event().wait()
        return None

    runner, sandbox = platform.worker(slow)
    while await runner.turn():
        pass
    assert [call.target for call, _ in sandbox.calls].count("mail") == 1
    assert len(sandbox.calls) <= 2 * PER_INSTALLATION
    await runner.close()


async def test_a_tick_reaches_the_plugin_with_its_planned_local_time(platform: Platform) -> None:
    platform.clock.now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    scheduler = Scheduler(platform.directory, platform.pool, platform.clock)
    await scheduler.turn()
    platform.clock.forward(hours=12.5)
    await scheduler.turn()
    runner, sandbox = platform.worker(emit)
    assert await all_of(runner) == 1
    call = sandbox.calls[0][0]
    tick = msgspec.msgpack.decode(call.payload, type=TickCall)
    assert (call.kind, call.target, tick.schedule, tick.planned) == (
        "schedule",
        "nightly",
        "nightly",
        "2026-07-02T02:00:00+02:00",
    )
    assert await platform.effects() == 1


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ({"name": "nothing"}, "unknown_job"),
        ({"name": "mail", "payload": "x" * 65_537}, "payload_too_large"),
        ({"name": "mail", "delay": -1}, "invalid_delay"),
        ({"name": "mail", "delay": float("nan")}, "invalid_delay"),
        ({"name": "mail", "delay": 1e12}, "invalid_delay"),
        ({"name": "mail", "at": datetime(2999, 1, 1, tzinfo=UTC)}, "invalid_delay"),
        ({"name": "mail", "key": ""}, "invalid_key"),
        ({"name": "mail", "key": "k" * 257}, "invalid_key"),
        ({"name": "mail", "key": "\0"}, "invalid_key"),
        ({"name": "mail", "installation": "other"}, "invalid_arguments"),
    ],
)
async def test_what_cannot_be_enqueued_is_refused(platform: Platform, call: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiRefusal) as refused:
        await platform.enqueue(call)
    assert refused.value.code == code


async def test_ten_thousand_jobs_may_wait_and_no_more(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work.MOST_WAITING == 10_000
    monkeypatch.setattr(work, "MOST_WAITING", 3)
    await platform.enqueue(*[{"name": "mail"}] * 3)
    with pytest.raises(ApiRefusal, match="3 jobs of this installation wait already"):
        await platform.enqueue({"name": "mail"})
    await platform.enqueue({"name": "mail"}, found=platform.install(store="s2"))


async def test_the_runner_runs_what_comes_due_until_it_is_stopped(platform: Platform) -> None:
    ran = asyncio.Event()

    async def note(_: Api, __: GuestCall) -> bytes | None:
        ran.set()
        return None

    runner, _ = platform.worker(note)
    running = asyncio.create_task(runner.run())
    await platform.enqueue({"name": "mail"})
    await asyncio.wait_for(ran.wait(), 10)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


@pytest.mark.parametrize(("state", "probes", "started"), [("open", 2, 0), ("half_open", 2, 2), ("half_open", 50, 4)])
async def test_what_a_circuit_breaker_holds_waits_and_what_it_lets_through_runs(
    platform: Platform, state: Any, probes: int, started: int
) -> None:
    await platform.enqueue(*[{"name": "mail"}] * 6)
    held = Breaker(state=state, probes=probes, revision=2)
    platform.directory.put(msgspec.structs.replace(platform.installation, status="error", breaker=held, revision=2))
    runner, sandbox = platform.worker(emit)
    tasks = await runner.turn()
    assert len(tasks) == started
    await asyncio.gather(*tasks)
    assert (len(sandbox.calls), await platform.waiting()) == (started, 6 - started)
    closed = msgspec.structs.replace(platform.installation, status="active", revision=3)
    platform.directory.put(closed)
    assert await all_of(runner) == 6 - started


async def test_every_attempt_of_a_job_is_in_the_trace_of_what_enqueued_it(platform: Platform) -> None:
    tracing, spans = recording()
    left = [PluginFailed("plugin_raised", "no", "")]

    async def once_failing(api: Api, call: GuestCall) -> bytes | None:
        if left:
            raise left.pop()
        return await emit(api, call)

    with tracing.span("api jobs.enqueue", SpanKind.INTERNAL, REMOTE, {}) as cause:
        await platform.enqueue({"name": "mail"})
    runner, _ = platform.worker(once_failing, tracing)
    assert await all_of(runner) == 1
    platform.clock.now += timedelta(hours=1)
    assert await all_of(runner) == 1
    attempts = [span for span in spans.get_finished_spans() if span.name == "job mail"]
    assert [span.attributes and span.attributes["outlet.attempt"] for span in attempts] == [1, 2]
    assert {(span.parent.trace_id, span.parent.span_id) for span in attempts if span.parent} == {
        (TRACE_ID, cause.get_span_context().span_id)
    }
    (call,) = [span for span in spans.get_finished_spans() if span.name == "api events.emit"]
    assert call.parent == attempts[1].context


async def test_a_tick_is_a_trace_of_its_own(platform: Platform) -> None:
    tracing, spans = recording()
    platform.clock.now = datetime(2026, 11, 2, 1, 30, tzinfo=UTC)
    scheduler = Scheduler(platform.directory, platform.pool, platform.clock)
    await scheduler.turn()
    platform.clock.now += timedelta(days=1)
    await scheduler.turn()
    runner, _ = platform.worker(emit, tracing)
    with tracing.span("somebody else's", SpanKind.INTERNAL, None, {}):
        assert await all_of(runner) == 1
    (tick,) = [span for span in spans.get_finished_spans() if span.name == "schedule nightly"]
    assert tick.parent is None


async def test_work_waits_while_its_installation_is_updated(platform: Platform) -> None:
    await platform.enqueue({"name": "mail"})
    platform.directory.put(msgspec.structs.replace(platform.installation, updating=True, revision=2))
    runner, sandbox = platform.worker(emit)
    assert await all_of(runner) == 0
    assert (sandbox.calls, await platform.waiting()) == ([], 1)
    platform.directory.put(msgspec.structs.replace(platform.installation, version="1.1.0", revision=3))
    assert await all_of(runner) == 1
