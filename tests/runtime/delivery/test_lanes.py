import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from services.runtime.delivery.lanes import Lanes


def recorder(order: list[str]) -> Callable[[str, asyncio.Event | None], Awaitable[None]]:
    async def work(name: str, gate: asyncio.Event | None = None) -> None:
        if gate is not None:
            await gate.wait()
        order.append(name)

    return work


async def test_work_of_one_lane_runs_in_order_and_lanes_do_not_wait_for_each_other() -> None:
    lanes, order, gate = Lanes(), list[str](), asyncio.Event()
    work = recorder(order)
    first = lanes.submit("a", partial(work, "a1", gate))
    second = lanes.submit("a", partial(work, "a2", None))
    await lanes.submit("b", partial(work, "b1", None))
    assert order == ["b1"]
    gate.set()
    await asyncio.gather(first, second)
    assert order == ["b1", "a1", "a2"]


async def test_a_failure_does_not_stop_what_waits_behind_it() -> None:
    lanes, order = Lanes(), list[str]()

    async def fail() -> None:
        raise RuntimeError("broken")

    failing = lanes.submit("a", fail)
    await lanes.submit("a", partial(recorder(order), "after", None))
    assert order == ["after"]
    with pytest.raises(RuntimeError, match="broken"):
        await failing


async def test_closing_ends_everything_also_what_waits_in_its_lane() -> None:
    lanes, order, gate = Lanes(), list[str](), asyncio.Event()
    tasks = [lanes.submit("a", partial(recorder(order), str(number), gate)) for number in range(3)]
    await lanes.close()
    assert all(task.cancelled() for task in tasks)
    assert order == []
