"""The order of turns."""

import asyncio

import pytest

from services.runtime.sandbox.slots import Slots


async def test_turns_come_in_order_and_all_slots_are_not_starved() -> None:
    slots = Slots(2)
    order: list[str] = []

    async def take(name: str, wanted: int) -> None:
        await slots.take(wanted)
        order.append(name)

    await slots.take(1)
    waiting = [asyncio.create_task(take("all", 2)), asyncio.create_task(take("one", 1))]
    await asyncio.sleep(0)
    assert order == []
    slots.give_back(1)
    await waiting[0]
    assert order == ["all"]
    slots.give_back(2)
    await waiting[1]
    assert order == ["all", "one"]


async def test_who_gives_up_waiting_makes_way() -> None:
    slots = Slots(2)
    await slots.take(1)
    gives_up = asyncio.create_task(slots.take(2))
    behind = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    gives_up.cancel()
    await behind
    with pytest.raises(asyncio.CancelledError):
        await gives_up


async def test_a_turn_that_came_together_with_its_cancellation_is_given_on() -> None:
    slots = Slots(1)
    await slots.take(1)
    cancelled = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.give_back(1)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    async with asyncio.timeout(1):
        await slots.take(1)


async def test_a_cancelled_waiter_is_passed_over_when_slots_come_back_first() -> None:
    slots = Slots(1)
    await slots.take(1)
    cancelled = asyncio.create_task(slots.take(1))
    behind = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    cancelled.cancel()
    slots.give_back(1)
    async with asyncio.timeout(1):
        await behind
    await asyncio.wait([cancelled])
