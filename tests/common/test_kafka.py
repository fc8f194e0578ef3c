"""The platform's producer, when the broker is away for longer than a record is tried."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.local import Kafka
from outlet.local.waiting import until
from services.common import kafka
from services.common.kafka import ensure_topics, open_producer
from services.common.topics import EVENTS
from tests.support.programs import missing_program
from tests.support.real import without
from tests.support.selection import RealPart

TOPIC = EVENTS["sale"].name
PARTITIONS = 3


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Kafka]:
    """A broker of one's own, to stop."""
    if lacking := missing_program(RealPart.KAFKA):
        without(lacking, os.environ)
    async with Kafka(tmp_path) as broker:
        await ensure_topics(broker.bootstrap, partitions=PARTITIONS, replication=1)
        yield broker


async def test_producer_works_again_after_an_outage_that_outlasts_its_records(
    broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "REQUEST_SECONDS", 1.0)
    async with open_producer(broker.bootstrap) as producer:
        for partition in range(PARTITIONS):
            await until(accepts(producer, partition), within=20, what=f"partition {partition} takes records")
        await broker.stop()
        given_up = [await producer.send(TOPIC, b"given up", partition=each) for each in range(PARTITIONS)]
        for answer in await asyncio.gather(*given_up, return_exceptions=True):
            assert isinstance(answer, KafkaError)
        await broker.start()
        for partition in range(PARTITIONS):
            await until(accepts(producer, partition), within=20, what=f"partition {partition} takes records again")


def accepts(producer: AIOKafkaProducer, partition: int) -> Callable[[], Awaitable[bool]]:
    async def accepted() -> bool:
        try:
            await producer.send_and_wait(TOPIC, b"a record", partition=partition)
        except KafkaError:
            return False
        return True

    return accepted
