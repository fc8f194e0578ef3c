"""An event's trace through dispatch, hooks, the attempt ledger and dead letters."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanKind

from outlet.manifest import HookDeclaration
from services.common.directory import Directory
from services.common.runtime_client import PluginFailed
from services.common.tracing import OFF, Tracing, of_headers
from services.common.tracing.messaging import processing
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures, RetryPolicy
from services.runtime.delivery.group import GROUP
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.retries import RetryRunner
from services.runtime.invoker import Invoker
from services.runtime.sandbox import GuestCall
from tests.runtime.delivery.test_dispatch import Notes, Pool, arrival
from tests.runtime.delivery.test_retries import Clock
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox
from tests.support.spans import REMOTE, SAMPLED, TRACE_ID, UNSAMPLED, recording


class Worker:
    """A worker whose spans stay here, with one installation that hears sales."""

    def __init__(self, pool: Pool, script: Script, tracing: Tracing, **hook: Any) -> None:
        self.pool = pool
        self.notes, self.clock, self.directory = Notes(), Clock(), Directory()
        noted: Any = self.notes
        sandbox: Any = ScriptedSandbox(script)
        self.tracing = tracing
        self.found = installation(hooks=(HookDeclaration(event="sale.created", **hook),))
        self.directory.put(self.found)
        ledger = Ledger(pool, "one")
        failures = Failures(ledger, RetryPolicy(), now=self.clock, chance=lambda: 1.0)
        invoker = Invoker(pool, sandbox, resources(tracing=tracing), noted)
        hooks = Hooks(self.directory, sandbox, invoker, noted, failures, deadline=5.0, tracing=tracing)
        hooks.crashed = self.notes.crashes.append
        self.runner = RetryRunner(ledger, hooks, failures, now=self.clock)
        self.dispatcher = Dispatcher(self.directory, pool, ledger, hooks)

    def arrival(self, number: int, **headers: str) -> Arrival:
        plain = arrival(self.notes, number, key=f"acme/s1/{number}")
        record = carrying(plain.record, **headers)
        span = processing(self.tracing, record, GROUP)
        return Arrival(record, plain.event, self.notes.offsets, span=span)

    async def consume(self, *arrivals: Arrival) -> None:
        await self.dispatcher.dispatch(list(arrivals))
        await self.notes.until_finished(len(arrivals))

    async def until_state(self, state: str) -> None:
        async with asyncio.timeout(10):
            while (row := await self.pool.fetchrow("SELECT state, leased_by FROM attempt_ledger"))["state"] != state:
                if row["leased_by"] is None:
                    self.clock.pass_by(hours=2)
                await self.runner.turn()
                await asyncio.sleep(0.001)


def carrying(record: Any, **headers: str) -> "ConsumerRecord[bytes, bytes]":
    more = [(name, value.encode()) for name, value in headers.items()]
    return ConsumerRecord(
        record.topic, 0, record.offset, 0, 0, record.key, record.value, None, 0, 0, [*record.headers, *more]
    )


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def parent(span: ReadableSpan) -> tuple[int, int]:
    assert span.parent is not None
    return span.parent.trace_id, span.parent.span_id


async def emit(api: Api, _: GuestCall) -> bytes | None:
    await api("events.emit", {"event": "done", "data": {}})
    return None


async def emitted(pool: Pool) -> list[dict[str, str]]:
    rows = await pool.fetch("SELECT headers FROM outbox ORDER BY id")
    return [msgspec.json.decode(row["headers"]) for row in rows]


async def test_hooks_of_one_batch_each_stay_in_the_trace_of_their_own_event(runtime_pool: Pool) -> None:
    tracing, spans = recording()
    together = asyncio.Barrier(3)

    async def script(api: Api, call: GuestCall) -> bytes | None:
        await together.wait()  # all of them run at once
        return await emit(api, call)

    worker = Worker(runtime_pool, script, tracing)
    traces = [SAMPLED.replace("0af7", f"{number}af7") for number in (1, 2)]
    arrivals = [worker.arrival(number, traceparent=trace) for number, trace in enumerate(traces, 1)]
    with tracing.span("somebody else's", SpanKind.INTERNAL, None, {}):  # what is ambient is no part of it
        await worker.consume(*arrivals, worker.arrival(3))
    processes, hooks = named(spans, "process outlet.events.sale"), named(spans, "hook sale.created")
    calls = named(spans, "api events.emit")
    assert len({ids(span)[0] for span in processes}) == 3
    assert {parent(span) for span in hooks} == {ids(span) for span in processes}
    assert {parent(span) for span in calls} == {ids(span) for span in hooks}
    carried = [of_headers(row) for row in await emitted(runtime_pool)]
    assert {(found.trace_id, found.span_id) for found in carried if found} == {ids(span) for span in calls}
    process = next(span for span in processes if ids(span)[0] == ids(hooks[0])[0])
    assert process.attributes is not None
    assert process.attributes["messaging.system"] == "kafka"
    assert process.attributes["messaging.operation.type"] == "process"
    assert process.attributes["messaging.destination.name"] == "outlet.events.sale"
    assert hooks[0].attributes is not None
    assert hooks[0].attributes["outlet.installation.id"] == worker.found.id
    assert not any("acme/s1/" in span.to_json() for span in spans.get_finished_spans())  # the record's key


async def test_attempts_of_one_event_are_in_one_trace_and_so_is_its_dead_letter(runtime_pool: Pool) -> None:
    tracing, spans = recording()

    async def script(_: Api, __: GuestCall) -> bytes | None:
        raise PluginFailed("plugin_raised", "Ada Lovelace is no customer", "Traceback ... Ada")

    worker = Worker(runtime_pool, script, tracing, attempts=3)
    await worker.consume(worker.arrival(1, traceparent=SAMPLED))
    await worker.until_state("dead")
    (process,), attempts = named(spans, "process outlet.events.sale"), named(spans, "hook sale.created")
    assert process.parent == REMOTE
    assert [span.attributes and span.attributes["outlet.attempt"] for span in attempts] == [1, 2, 3]
    assert {parent(span) for span in attempts} == {ids(process)}
    assert {span.attributes and span.attributes["error.type"] for span in attempts} == {"plugin_raised"}
    assert not any("Ada" in span.to_json() for span in spans.get_finished_spans())
    (letter,) = await emitted(runtime_pool)
    context = of_headers(letter)
    assert context is not None
    assert (context.trace_id, context.span_id) == ids(attempts[-1])
    assert letter["outlet_code"] == "plugin_raised"


async def test_an_attempt_elsewhere_after_a_restart_is_in_the_same_trace(runtime_pool: Pool) -> None:
    tracing, _ = recording()

    async def failing(_: Api, __: GuestCall) -> bytes | None:
        raise PluginFailed("plugin_raised", "no", "")

    first = Worker(runtime_pool, failing, tracing)
    await first.consume(first.arrival(1, traceparent=SAMPLED))
    again, spans = recording()
    second = Worker(runtime_pool, emit, again)
    second.directory.put(first.found)
    await second.until_state("succeeded")
    (attempt,) = named(spans, "hook sale.created")
    assert ids(attempt)[0] == TRACE_ID
    assert attempt.attributes is not None
    assert attempt.attributes["outlet.attempt"] == 2


@pytest.mark.parametrize("headers", [{"traceparent": UNSAMPLED}, {}])
async def test_what_is_not_sampled_records_nothing_and_says_so_to_what_it_causes(
    runtime_pool: Pool, headers: dict[str, str]
) -> None:
    tracing, spans = recording(traces_sampler="parentbased_traceidratio", traces_sampler_arg=0.0)
    worker = Worker(runtime_pool, emit, tracing)
    await worker.consume(worker.arrival(1, **headers), worker.arrival(2, **headers))
    assert spans.get_finished_spans() == ()
    carried = [row["traceparent"] for row in await emitted(runtime_pool)]
    assert [value[-2:] for value in carried] == ["00", "00"] or [value[-2:] for value in carried] == ["02", "02"]
    same = len({value.split("-")[1] for value in carried}) == 1
    assert same is bool(headers)  # the sender's own trace, or a new one each


async def test_without_tracing_no_object_is_made_for_an_event_and_nothing_goes_along(runtime_pool: Pool) -> None:
    worker = Worker(runtime_pool, emit, OFF)
    arrivals = [worker.arrival(number, traceparent=SAMPLED) for number in range(1, 4)]
    assert not any(each.sampled for each in arrivals)
    before = _spans_alive()
    await worker.consume(*arrivals)
    assert _spans_alive() == before
    assert not any("traceparent" in row for row in await emitted(runtime_pool))


def _spans_alive() -> int:
    gc.collect()
    return sum(1 for each in gc.get_objects() if isinstance(each, Span))


async def test_a_guest_cannot_choose_what_its_calls_belong_to(runtime_pool: Pool) -> None:
    tracing, spans = recording()
    seen: list[bytes] = []

    async def forging(api: Api, call: GuestCall) -> bytes | None:
        seen.append(call.payload + call.scope.payload)
        await api("events.emit", {"event": "done", "data": {"traceparent": UNSAMPLED}})
        return None

    worker = Worker(runtime_pool, forging, tracing)
    await worker.consume(worker.arrival(1, traceparent=SAMPLED, ce_traceparent=UNSAMPLED))
    (row,) = await emitted(runtime_pool)
    (call,) = named(spans, "api events.emit")
    assert row["traceparent"].split("-")[1:3] == [f"{ids(call)[0]:032x}", f"{ids(call)[1]:016x}"]
    assert f"{TRACE_ID:032x}".encode() not in seen[0]
