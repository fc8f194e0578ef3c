"""Several calls in one guest that ends: nobody is blamed without proof, and proof is to be had."""

import asyncio
from typing import Any

import pytest

from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import PluginInterrupted
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Caller

PLUGIN = """
@plugin.hook("sale.created")
async def act(api: Api, event: Event) -> None:
    await api.emit("arrived", {"how": event.data})
    if event.data == "exit":
        os._exit(3)
    if event.data == "busy":
        while True: pass
"""


class Gate:
    """An API handler that holds every call until it is opened."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.opened = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, method: str, arguments: dict[str, Any]) -> None:
        self.arrived.release()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def passing(method: str, arguments: dict[str, Any]) -> None:
    """Answer at once."""


async def started(caller: Caller, gate: Gate, data: str, **options: Any) -> "asyncio.Task[bytes]":
    task = asyncio.create_task(caller.hook(data, api=gate, **options))
    await gate.arrived.acquire()
    return task


@pytest.mark.parametrize("how", ["exit", "busy"])
async def test_calls_that_were_together_are_interrupted_and_none_is_blamed(start_plugin: StartPlugin, how: str) -> None:
    caller = start_plugin(PLUGIN)
    gate = Gate()
    innocent = [await started(caller, gate, "wait") for _ in range(3)]
    with pytest.raises(PluginInterrupted):
        await caller.hook(how, api=passing, deadline=0.5)
    for call in innocent:
        with pytest.raises(PluginInterrupted):
            await call
    assert gate.cancelled == 3


@pytest.mark.parametrize(("how", "code"), [("exit", "plugin_exited"), ("busy", "plugin_timeout")])
async def test_alone_the_culprit_gets_its_verdict_and_the_others_succeed(
    start_plugin: StartPlugin, how: str, code: str
) -> None:
    caller = start_plugin(PLUGIN)

    async def deliver(data: str) -> str:
        try:
            await caller.hook(data, api=passing, deadline=0.5)
        except PluginInterrupted:
            try:
                await caller.hook(data, api=passing, deadline=0.5, alone=True)
            except PluginFailed as failure:
                return failure.code
        return "done"

    assert await asyncio.gather(*(deliver(data) for data in ("fine", how, "fine", "fine"))) == [
        "done",
        code,
        "done",
        "done",
    ]


async def test_alone_waits_for_others_and_lets_none_in(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    gate, own = Gate(), Gate()
    earlier = await started(caller, gate, "wait")
    alone = asyncio.create_task(caller.hook("wait", api=own, alone=True))
    later = asyncio.create_task(caller.hook("wait", api=passing))
    done, _ = await asyncio.wait([alone, later], timeout=0.1)
    assert not done
    gate.opened.set()
    await earlier
    await own.arrived.acquire()
    done, _ = await asyncio.wait([later], timeout=0.1)
    assert not done
    own.opened.set()
    await asyncio.gather(alone, later)


async def test_a_call_whose_caller_went_away_keeps_its_slot_until_it_ends(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN, concurrency=1)
    gate = Gate()
    call = await started(caller, gate, "wait")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert gate.cancelled == 1
    # Its API call never gets an answer, so only its deadline ends it.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await caller.hook("fine", api=passing)


async def test_a_call_whose_caller_went_away_ends_with_its_deadline(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN, concurrency=1)
    call = await started(caller, Gate(), "wait", deadline=0.3)
    call.cancel()
    async with asyncio.timeout(5):
        assert await caller.hook("fine", api=passing) == b""


async def test_a_call_cancelled_while_it_waits_for_its_turn_takes_nothing(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN, concurrency=1)
    gate = Gate()
    first = await started(caller, gate, "wait")
    waiting = [asyncio.create_task(caller.hook("fine", api=passing)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    gate.opened.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [bytes, asyncio.CancelledError, bytes]


async def test_closing_the_pool_interrupts(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    call = await started(caller, Gate(), "wait")
    await caller.pool.close()
    with pytest.raises(PluginInterrupted):
        await call
