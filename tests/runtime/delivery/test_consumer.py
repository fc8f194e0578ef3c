"""A worker that stops: what it took from Kafka is finished and committed, or delivered again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.common.events import DomainEvent
from services.common.topics import OTHER_EVENTS
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.consumer import EventConsumer

PARTITION = TopicPartition(OTHER_EVENTS.name, 0)
EVENT = DomainEvent("e1", "shift.opened", "urn:pos", "2026-11-01T12:00:00Z", "acme", "s1", b"{}")


class OneBatch:
    """A Kafka consumer with two records to give."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] = {}
        self.stopped = False
        self._records = [record(offset) for offset in (4, 5)]

    def subscribe(self, topics: list[str], listener: object) -> None:
        pass

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    async def getmany(self, **_: int) -> "dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]":
        records, self._records = self._records, []
        if not records:
            await asyncio.Event().wait()
        return {PARTITION: records}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed |= offsets

    async def stop(self) -> None:
        self.stopped = True


class HeldDispatcher:
    """Hands records on when it is let, or fails to."""

    def __init__(self) -> None:
        self.entered, self.let = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None
        self.crashed: Callable[[BaseException], None] | None = None

    async def dispatch(self, arrivals: list[Arrival]) -> None:
        self.entered.set()
        await self.let.wait()
        if self.failure:
            raise self.failure
        for arrival in arrivals:
            arrival.ended()

    async def close(self) -> None:
        pass


def record(offset: int) -> "ConsumerRecord[bytes, bytes]":
    return ConsumerRecord(
        topic=PARTITION.topic,
        partition=PARTITION.partition,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=b"k",
        value=EVENT.data,
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=2,
        headers=EVENT.headers(),
    )


def consumer(kafka: OneBatch, dispatcher: HeldDispatcher, *, drain_seconds: float) -> EventConsumer:
    unused: Any = None
    held: Any = dispatcher
    return EventConsumer(kafka, unused, held, held, unused, records_in_flight=100, drain_seconds=drain_seconds)


async def cancelled_while_handing_on(events: EventConsumer, dispatcher: HeldDispatcher) -> None:
    running = asyncio.create_task(events.run())
    await dispatcher.entered.wait()
    running.cancel()
    await asyncio.wait([running])


async def test_records_that_were_being_handed_on_when_the_worker_stops_are_finished_and_committed() -> None:
    kafka, dispatcher = OneBatch(), HeldDispatcher()
    events = consumer(kafka, dispatcher, drain_seconds=30)
    await cancelled_while_handing_on(events, dispatcher)

    draining = asyncio.create_task(events.drain())
    dispatcher.let.set()
    await asyncio.wait_for(draining, 5)

    assert kafka.committed == {PARTITION: 6}
    assert kafka.stopped, "the others have its partitions as soon as it is done with them"


async def test_stop_waits_no_longer_than_it_may_for_records_that_cannot_be_handed_on() -> None:
    kafka, dispatcher = OneBatch(), HeldDispatcher()
    events = consumer(kafka, dispatcher, drain_seconds=0.1)
    await cancelled_while_handing_on(events, dispatcher)

    await asyncio.wait_for(events.drain(), 5)

    assert kafka.committed == {}


async def test_worker_stops_when_records_cannot_be_handed_on_for_good() -> None:
    kafka, dispatcher = OneBatch(), HeldDispatcher()
    dispatcher.failure = ValueError("what nobody foresaw")
    dispatcher.let.set()
    events = consumer(kafka, dispatcher, drain_seconds=30)

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(events.run(), 5)
    assert raised.group_contains(ValueError, match="what nobody foresaw")
    await asyncio.wait_for(events.drain(), 5)

    assert kafka.committed == {}
