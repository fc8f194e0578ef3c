"""The queue of a guest that gets events many at a time."""

import asyncio
from collections.abc import Callable

from outlet._calls import HookCall
from outlet._frames import Events
from outlet._guest.hooks import HookQueue


def frame(first: int, count: int, at_once: int = 2) -> Events:
    event = HookCall("e", "sale.created", "pos", "2026-03-01T10:00:00Z", "acme", "s1", b"{}")
    return Events(first, 1, at_once, [event] * count)


class Runner:
    """Notes which hooks were run; ``at`` does something when a certain one is."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.at: dict[int, Callable[[], object]] = {}
        self.told = 0

    async def run_hook(self, number: int, event: HookCall, scope: int) -> None:
        self.ran.append(number)
        self.at.get(number, lambda: None)()

    def flush(self) -> None:
        self.told += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(2):
            while len(self.ran) < count:  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0)


async def test_events_that_come_just_as_the_last_task_finds_no_more_are_run() -> None:
    """Its end is not known to the loop yet: it must not be counted on."""
    runner = Runner()
    queue = HookQueue(runner)
    loop = asyncio.get_running_loop()
    runner.at[1] = lambda: loop.call_soon(queue.add, frame(2, 3, at_once=1))
    queue.add(frame(1, 1, at_once=1))
    await runner.until(4)
    assert runner.ran == [1, 2, 3, 4]


async def test_a_task_that_the_plugin_cancels_later_costs_its_own_event_alone() -> None:
    runner = Runner()
    queue = HookQueue(runner)
    loop = asyncio.get_running_loop()
    for number in range(1, 200, 20):
        runner.at[number] = lambda: loop.call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
    queue.add(frame(1, 300))
    await runner.until(300)
    assert sorted(runner.ran) == list(range(1, 301))


async def test_the_worker_is_told_while_many_hooks_run() -> None:
    runner = Runner()
    HookQueue(runner).add(frame(1, 320))
    await runner.until(320)
    assert runner.told >= 9
