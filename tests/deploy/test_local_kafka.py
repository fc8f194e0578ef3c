"""The real broker: what the embedded one cannot do, and what survives its crash."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from deploy.local import Kafka

pytestmark = pytest.mark.real


@asynccontextmanager
async def administration(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create_topic(kafka: Kafka, name: str, partitions: int = 1, **settings: str) -> None:
    configuration = {setting.replace("_", "."): value for setting, value in settings.items()}
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=configuration)
    async with administration(kafka) as client:
        await client.create_topics([topic])


async def produce(kafka: Kafka, topic: str, values: Iterable[int]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await producer.send(topic, str(value).encode(), partition=0)
        await producer.flush()


def member(kafka: Kafka, topic: str, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=3_000,
        heartbeat_interval_ms=500,
    )


async def read(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    async with asyncio.timeout(20):
        return [int((await consumer.getone()).value) for _ in range(count)]


async def test_a_topic_nobody_made_does_not_appear(local_kafka: Kafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=local_kafka.bootstrap, request_timeout_ms=1_000) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("never-made", b"1")
    async with administration(local_kafka) as client:
        assert "never-made" not in await client.list_topics()


async def test_a_topic_can_be_compacted(local_kafka: Kafka) -> None:
    await create_topic(local_kafka, "compacted", cleanup_policy="compact")
    async with administration(local_kafka) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "compacted")])
    entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert entries["cleanup.policy"] == "compact"


async def test_two_members_share_the_partitions_of_a_group(local_kafka: Kafka) -> None:
    await create_topic(local_kafka, "shared", partitions=4)
    async with member(local_kafka, "shared", "pair") as first, member(local_kafka, "shared", "pair") as second:
        async with asyncio.timeout(20):
            while len(first.assignment()) != 2 or len(second.assignment()) != 2:
                await asyncio.gather(first.getmany(timeout_ms=100), second.getmany(timeout_ms=100))
        assert first.assignment() | second.assignment() == {TopicPartition("shared", number) for number in range(4)}


async def test_records_and_commits_survive_a_crash(local_kafka: Kafka) -> None:
    await create_topic(local_kafka, "kept")
    await produce(local_kafka, "kept", range(100))
    async with member(local_kafka, "kept", "reader") as consumer:
        assert await read(consumer, 40) == list(range(40))
        await consumer.commit({TopicPartition("kept", 0): 40})
    address, process = local_kafka.bootstrap, local_kafka.pid

    await local_kafka.kill()
    assert local_kafka.pid is None
    await local_kafka.start()

    assert (local_kafka.bootstrap, local_kafka.pid != process) == (address, True)
    await produce(local_kafka, "kept", range(100, 110))
    async with member(local_kafka, "kept", "reader") as consumer:
        assert await read(consumer, 70) == list(range(40, 110))


async def test_records_survive_a_graceful_restart(local_kafka: Kafka) -> None:
    await create_topic(local_kafka, "restarted")
    await produce(local_kafka, "restarted", range(10))
    await local_kafka.stop()
    await local_kafka.start()
    async with member(local_kafka, "restarted", "reader") as consumer:
        assert await read(consumer, 10) == list(range(10))


async def test_a_paused_broker_goes_on_where_it_was(local_kafka: Kafka) -> None:
    await create_topic(local_kafka, "paused")
    local_kafka.pause()
    sent = asyncio.create_task(produce(local_kafka, "paused", range(5)))
    finished, _ = await asyncio.wait({sent}, timeout=0.5)
    assert not finished
    local_kafka.resume()
    await asyncio.wait_for(sent, 20)
    async with member(local_kafka, "paused", "reader") as consumer:
        assert await read(consumer, 5) == list(range(5))
