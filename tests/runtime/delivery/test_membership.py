"""Workers with lasting names on a real broker: restarted, doubled, frozen, and when partitions are added."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from outlet.local.waiting import until
from services.runtime.delivery import consumer as consuming
from services.runtime.delivery import group as grouping
from services.runtime.delivery.consumer import EventConsumer
from services.runtime.delivery.group import open_consumer
from services.runtime.delivery.membership import Membership, NameTaken
from tests.runtime.delivery.test_consumer import HeldDispatcher, OneBatch
from tests.support.real import RealParts

PARTITIONS = 4
SESSION_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """A topic, and a group that shares it, for one test alone."""

    bootstrap: str
    topic: str
    group: str


@pytest.fixture
async def place(real_parts: RealParts) -> Place:
    name = f"membership-{uuid.uuid4().hex[:12]}"
    async with administration(real_parts.kafka_bootstrap) as admin:
        await admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)])
    return Place(real_parts.kafka_bootstrap, name, name)


@asynccontextmanager
async def administration(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


class Worker(EventConsumer):
    """A worker's consumer, which counts how often it was given partitions."""

    def __init__(self, kafka: AIOKafkaConsumer, place: Place, name: str) -> None:
        nothing: Any = None
        idle: Any = HeldDispatcher()
        membership = Membership(place.bootstrap, place.group, name)
        super().__init__(
            kafka,
            nothing,
            idle,
            idle,
            nothing,
            records_in_flight=100,
            drain_seconds=1.0,
            membership=membership,
            topics=(place.topic,),
        )
        self.kafka = kafka
        self.times_assigned = 0
        self.running = asyncio.create_task(self.run())

    async def on_partitions_assigned(self, assigned: "set[TopicPartition]") -> None:
        self.times_assigned += 1
        await super().on_partitions_assigned(assigned)

    @property
    def has(self) -> set[int]:
        """The partitions it has now."""
        return {partition.partition for partition in self.kafka.assignment()}


@asynccontextmanager
async def worker(place: Place, name: str, *, session_timeout: float = SESSION_SECONDS) -> AsyncIterator[Worker]:
    """A worker of the group; its end is that of a worker that is told to stop."""
    async with open_consumer(
        place.bootstrap, place.group, instance=name, session_timeout=session_timeout, drain_seconds=1.0
    ) as kafka:
        started = Worker(kafka, place, name)
        try:
            yield started
        finally:
            started.running.cancel()
            await asyncio.wait([started.running])
            await started.drain()


async def until_shared(*workers: Worker, partitions: int = PARTITIONS) -> None:
    """Wait until these workers have all partitions, each its own."""

    async def shared() -> bool:
        each = [one.has for one in workers]
        told = all(one.times_assigned for one in workers)
        return told and all(each) and sorted(part for has in each for part in has) == list(range(partitions))

    await until(shared, within=20, what=f"{len(workers)} workers share {partitions} partitions")


async def test_worker_that_is_restarted_has_its_partitions_again_and_the_others_notice_nothing(place: Place) -> None:
    async with worker(place, "w-1") as other:
        async with worker(place, "w-0") as first:
            await until_shared(first, other)
            before, undisturbed = first.has, other.times_assigned

        async with worker(place, "w-0") as second:
            await until_shared(second, other)

            assert second.has == before
            assert second.times_assigned == 1
            assert other.times_assigned == undisturbed


async def test_of_two_workers_of_one_name_the_older_ends_and_says_why(place: Place) -> None:
    async with worker(place, "w-0") as older, worker(place, "w-1") as other:
        await until_shared(older, other)
        undisturbed = other.times_assigned

        async with worker(place, "w-0") as newer:
            await asyncio.wait([older.running], timeout=SESSION_SECONDS)

            with pytest.raises(ExceptionGroup) as raised:
                older.running.result()
            assert raised.group_contains(NameTaken, match="'w-0'.*OUTLET_WORKER_INSTANCE")
            await until_shared(newer, other)
            assert newer.times_assigned == 1
            assert other.times_assigned == undisturbed


async def test_partitions_that_are_added_are_taken_up_although_the_leader_was_restarted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "METADATA_SECONDS", 0.5)
    monkeypatch.setattr(consuming, "PARTITIONS_SECONDS", 0.2)
    async with worker(place, "w-0") as only:
        await until_shared(only)
    async with worker(place, "w-0") as again:
        await until_shared(again)

        async with administration(place.bootstrap) as admin:
            await admin.create_partitions({place.topic: NewPartitions(PARTITIONS + 2)})

        await until_shared(again, partitions=PARTITIONS + 2)


async def test_worker_that_was_frozen_beyond_its_session_joins_again_if_nobody_has_its_name(place: Place) -> None:
    async with worker(place, "w-0", session_timeout=1.0) as frozen:
        await until_shared(frozen)
        async with administration(place.bootstrap) as admin:
            before = await member_ids(admin, place.group)
            time.sleep(1.5)  # noqa: ASYNC251 - nothing of this process goes on, as under SIGSTOP

            async def joined_again() -> bool:
                return frozen.times_assigned == 2

            await until(joined_again, within=10, what="the worker has joined again")
            after = await member_ids(admin, place.group)
            assert len(after) == 1
            assert not after & before, "the group had given it up"
        await until_shared(frozen)
        assert not frozen.running.done()


async def member_ids(admin: AIOKafkaAdminClient, group: str) -> set[str]:
    (response,) = await admin.describe_consumer_groups([group])
    return {member[0] for member in response.groups[0][5]}


async def test_name_that_only_begins_like_a_workers_own_is_anothers(place: Place) -> None:
    membership = Membership(place.bootstrap, place.group, "w-0")
    membership.joined(f"w-0-{uuid.uuid4()}")

    async with worker(place, "w-0-b") as namesake:
        await until_shared(namesake)
        assert not await membership.is_lost()


async def test_worker_goes_on_while_the_broker_does_not_say_who_has_its_place() -> None:
    membership = Membership("127.0.0.1:1", "nowhere", "w-0")
    membership.joined(f"w-0-{uuid.uuid4()}")

    assert not await membership.is_lost()
    assert not await membership.leaves_out([TopicPartition("t", 0)])


class Refusing(OneBatch):
    """A Kafka consumer that fails at its first fetch, as one does whose join was refused."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def getmany(self, **_: int) -> "dict[TopicPartition, list[Any]]":
        raise self._error

    def partitions_for_topic(self, _: str) -> set[int]:
        return set()


class TakenPlace(Membership):
    """A place that is known to be another's, or not."""

    def __init__(self, *, lost: bool) -> None:
        super().__init__("unused", "unused", "w-0")
        self._lost = lost

    async def is_lost(self) -> bool:
        return self._lost


@pytest.mark.parametrize(("lost", "raised"), [(True, NameTaken), (False, KafkaError)])
async def test_worker_whose_join_is_refused_says_so_if_its_name_was_taken(lost: bool, raised: type[Exception]) -> None:
    nothing: Any = None
    idle: Any = HeldDispatcher()
    events = EventConsumer(
        Refusing(KafkaError("UnknownError")),
        nothing,
        idle,
        idle,
        nothing,
        records_in_flight=100,
        drain_seconds=1.0,
        membership=TakenPlace(lost=lost),
    )

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(events.run(), 5)
    assert isinstance(caught.value.exceptions[0], raised)
