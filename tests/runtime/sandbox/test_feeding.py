"""Events on their way through a real guest, many at a time."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from outlet.manifest import Limits
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import Delivery, GuestKey, PluginInterrupted, RunningCall, SandboxPool, ScopeData
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Caller, Recorder


class Sent:
    """One event, and how it ended: None is well."""

    def __init__(self, number: int, data: Any, source: "Source") -> None:
        body = json.dumps(data).encode()
        self.event = DomainEvent(f"e{number}", "sale.created", "pos", "2026-03-01T10:00:00Z", "acme", "s1", body)
        self.number = number
        self._source = source
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> RunningCall:
        running = RunningCall(self._source.api)
        self._tasks.append(asyncio.create_task(self._await(running)))
        return running

    async def _await(self, running: RunningCall) -> None:
        try:
            await running.outcome()
        except (PluginFailed, PluginInterrupted) as error:
            self.ended(error, 0.0)
        else:
            self.ended(None, 0.0)

    def ended(self, outcome: Exception | None, seconds: float) -> None:
        self._source.ended(self.number, outcome)


class Source:
    """Events of one installation."""

    def __init__(
        self, data: Sequence[Any], *, installation: str = "i-1", deadline: float = 5.0, api: Any = None
    ) -> None:
        facts = {"organization": "acme", "store": None, "config": {"installation": installation}}
        self.scope = ScopeData(installation, 1, msgspec.msgpack.encode(facts))
        self.deadline = deadline
        self.limits = Limits()
        self.per_slot = 1
        self.api = api or Recorder()
        self.outcomes: dict[int, Exception | None] = {}
        self.order: list[int] = []
        self._waiting: deque[Delivery] = deque(Sent(number, each, self) for number, each in enumerate(data))
        self._count = len(data)
        self._all = asyncio.Event()

    def take(self, most: int, most_bytes: int) -> list[Delivery]:
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def ended(self, number: int, outcome: Exception | None) -> None:
        assert number not in self.outcomes
        self.outcomes[number] = outcome
        self.order.append(number)
        if len(self.outcomes) == self._count:
            self._all.set()

    async def through(self, pool: SandboxPool, caller: Caller) -> None:
        pool.feed(caller.key, self)
        await asyncio.wait_for(self._all.wait(), 30)

    def failed(self) -> dict[int, str]:
        return {
            number: outcome.code if isinstance(outcome, PluginFailed) else type(outcome).__name__
            for number, outcome in self.outcomes.items()
            if outcome is not None
        }


IGNORES = """
@plugin.hook("sale.created")
async def ignore(api: Api, event: Event) -> None:
    pass
"""

AS_TOLD = """
running = 0

@plugin.hook("sale.created")
async def obey(api: Api, event: Event) -> None:
    global running
    running += 1
    order = event.data
    if order == "raise":
        raise ValueError("as told")
    if order == "exit":
        os._exit(3)
    if order == "hang":
        await asyncio.Event().wait()
    if order == "spin":
        while True:
            pass
    if order == "cancel":
        asyncio.current_task().cancel()
    if order == "call":
        await api.emit("called", {"at_once": running})
    if order == "time out":
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
    running -= 1
"""


async def test_a_thousand_events_of_several_installations_each_end_once(start_plugin: StartPlugin) -> None:
    caller = start_plugin(IGNORES)
    sources = [Source([None] * 1_000, installation=f"i-{number}") for number in range(3)]
    await asyncio.gather(*(source.through(caller.pool, caller) for source in sources))
    assert [source.failed() for source in sources] == [{}, {}, {}]
    assert len(caller.pool) == 1


async def test_hooks_that_wait_run_beside_each_other_and_no_more_than_may(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD, concurrency=4)
    api = Recorder()
    source = Source(["call"] * 40, api=api)
    await source.through(caller.pool, caller)
    assert source.failed() == {}
    at_once = [call["data"]["at_once"] for _, call in api.calls]
    assert (len(at_once), max(at_once)) == (40, 3)  # one slot is for routes


async def test_more_hooks_may_run_in_the_place_of_one_call_until_their_source_asks_for_fewer(
    start_plugin: StartPlugin,
) -> None:
    caller = start_plugin(AS_TOLD, concurrency=4)
    api = Recorder()
    many, few = Source(["call"] * 200, api=api), Source(["call"] * 40, api=api)
    many.per_slot = 4
    await many.through(caller.pool, caller)
    at_once = [call["data"]["at_once"] for _, call in api.calls]
    assert (len(at_once), max(at_once)) == (200, 12)
    api.calls.clear()
    await few.through(caller.pool, caller)
    at_once = [call["data"]["at_once"] for _, call in api.calls]
    assert (len(at_once), max(at_once)) == (40, 3)


async def test_a_hook_that_raises_fails_alone(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD)
    source = Source([None, "raise", None, "call", "raise", None])
    await source.through(caller.pool, caller)
    assert source.failed() == {1: "plugin_raised", 4: "plugin_raised"}


async def test_a_hook_may_use_time_outs_and_cancel_itself_without_harm_to_the_next(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD, concurrency=2)
    source = Source(["time out", "cancel", "time out", None, "call"])
    await source.through(caller.pool, caller)
    assert source.failed() == {}


async def test_what_a_hook_puts_into_its_context_is_not_seen_by_the_next(start_plugin: StartPlugin) -> None:
    caller = start_plugin(
        """
        from contextvars import ContextVar
        seen = ContextVar("seen", default="nothing")

        @plugin.hook("sale.created")
        async def look(api: Api, event: Event) -> None:
            await api.emit("seen", {"before": seen.get()})
            seen.set(event.id)
        """,
        concurrency=2,
    )
    api = Recorder()
    await Source([None] * 5, api=api).through(caller.pool, caller)
    assert [call["data"]["before"] for _, call in api.calls] == ["nothing"] * 5


@pytest.mark.parametrize(
    ("order", "verdict"), [("hang", "plugin_timeout"), ("spin", "plugin_timeout"), ("exit", "plugin_exited")]
)
async def test_one_that_ends_the_guest_is_blamed_when_nothing_else_was_in_it(
    order: str, verdict: str, start_plugin: StartPlugin
) -> None:
    source = Source([order], deadline=0.5)
    caller = start_plugin(AS_TOLD)
    await source.through(caller.pool, caller)
    assert source.failed() == {0: verdict}


async def test_nobody_is_blamed_for_what_a_later_event_may_have_done(start_plugin: StartPlugin) -> None:
    """The guest gets through the first before it tells: the worker still counts it as running when the end comes."""
    caller = start_plugin(AS_TOLD, concurrency=1)
    source = Source([None, "exit", None])
    await source.through(caller.pool, caller)
    assert source.failed() == dict.fromkeys(range(3), "PluginInterrupted")


async def test_one_that_hangs_holds_no_other_that_has_ended(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD, concurrency=4)
    source = Source(["hang", *[None] * 20], deadline=0.5)
    await source.through(caller.pool, caller)
    assert source.failed() == {0: "plugin_timeout"}


async def test_an_exit_among_several_is_nobodys_until_they_are_called_alone(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD, concurrency=4)
    source = Source(["hang", "exit", "hang"], deadline=5)
    await source.through(caller.pool, caller)
    assert source.failed() == dict.fromkeys(range(3), "PluginInterrupted")


FORGED = """
@plugin.hook("sale.created")
async def forge(api: Api, event: Event) -> None:
    if event.data == "forge":  # the ends of the first event and of the 99th, in one frame
        os.write(3, (6).to_bytes(4, "big") + bytes([0x93, 17, 0x92, 1, 99, 0xC2]))
        await asyncio.sleep(60)
"""


async def test_a_forged_end_costs_the_guest_and_no_later_event(start_plugin: StartPlugin) -> None:
    caller = start_plugin(FORGED)
    source = Source(["forge", *["wait"] * 4])
    await source.through(caller.pool, caller)
    assert {0} & source.failed().keys() == set()  # its own word for its own event
    later = Source([None] * 50, installation="i-2")
    await later.through(caller.pool, caller)
    assert later.failed() == {}


async def test_a_route_is_answered_while_hooks_keep_the_guest_busy(start_plugin: StartPlugin) -> None:
    caller = start_plugin(
        AS_TOLD
        + """
@plugin.route("GET", "/ping")
async def ping(api: Api, request: Request) -> dict:
    return {"pong": True}
"""
    )
    source = Source(["hang"] * 20, deadline=2)
    feeding = asyncio.create_task(source.through(caller.pool, caller))
    async with asyncio.timeout(1.5):
        assert (await caller.route("GET", "/ping")).status == 200
    assert not feeding.done()
    feeding.cancel()


async def test_one_who_needs_the_guest_alone_gets_it_between_events(start_plugin: StartPlugin) -> None:
    caller = start_plugin(AS_TOLD, concurrency=2)
    api = Recorder()
    source = Source(["call"] * 500, api=api)
    feeding = asyncio.create_task(source.through(caller.pool, caller))
    await caller.hook("call", alone=True)
    assert len(source.outcomes) < 500
    await feeding


async def test_a_plugin_that_cannot_be_loaded_fails_its_events(start_plugin: StartPlugin) -> None:
    caller = start_plugin("os.environ['PATH']")
    source = Source([None] * 3)
    await source.through(caller.pool, caller)
    assert set(source.failed().values()) == {"plugin_load_failed"}


async def test_events_wait_for_a_package_that_is_not_to_be_had(start_plugin: StartPlugin, packages: Any) -> None:
    asked = 0

    async def fetch(key: GuestKey) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the registry is away")
        data: bytes = packages[key.digest].data
        return data

    caller = start_plugin(IGNORES, fetch=fetch)
    source = Source([None] * 3)
    await source.through(caller.pool, caller)
    assert (source.failed(), asked) == ({}, 2)


async def test_a_thousand_large_events_are_cut_into_frames(start_plugin: StartPlugin) -> None:
    caller = start_plugin(IGNORES)
    source = Source(["x" * 20_000] * 100)
    await source.through(caller.pool, caller)
    assert source.failed() == {}
