"""The outbox relay on a real PostgreSQL and a broker that speaks Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeAlias

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from services.common.kafka import open_producer
from services.common.outbox import INSERT, Message, OutboxRelay, add
from services.common.topics import INSTALLATIONS
from services.common.tracing import of_record
from tests.runtime.conftest import runtime_dsn, runtime_pool, runtime_template
from tests.support.spans import REMOTE, SAMPLED, recording

__all__ = ["runtime_dsn", "runtime_pool", "runtime_template"]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
async def producer(fresh_kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    async with open_producer(fresh_kafka_bootstrap) as opened:
        yield opened


async def read(bootstrap: str, topic: str, count: int, partition: int = 0) -> list[tuple[bytes, bytes | None]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition)])
        async with asyncio.timeout(20):
            return [((record := await consumer.getone()).key, record.value) for _ in range(count)]
    finally:
        await consumer.stop()


async def waiting(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def test_rows_are_published_in_order_and_deleted(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    for number in range(10):
        value = None if number == 9 else b"%d" % number
        await runtime_pool.execute(INSERT, INSTALLATIONS.name, "key", value, json.dumps({"n": str(number)}))
    assert await OutboxRelay(runtime_pool, producer).publish() == 10
    assert await waiting(runtime_pool) == 0
    records = await read(fresh_kafka_bootstrap, INSTALLATIONS.name, 10)
    assert [value for _, value in records] == [*(b"%d" % number for number in range(9)), None]


async def test_what_a_transaction_rolled_back_is_never_published(
    runtime_pool: Pool, producer: AIOKafkaProducer
) -> None:
    async with runtime_pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(INSERT, "t", "k", b"v", "{}")
        assert await OutboxRelay(runtime_pool, producer).publish() == 0
        await transaction.rollback()
    assert await OutboxRelay(runtime_pool, producer).publish() == 0


class BrokenOnce:
    """A producer whose broker goes away in the middle of a batch, once."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.sent = 0

    async def send(self, *arguments: object, **named: object) -> object:
        self.sent += 1
        if self.sent == 2:
            raise KafkaTimeoutError("the broker is away")
        return await self._producer.send(*arguments, **named)


async def test_a_broker_that_goes_away_in_the_middle_loses_nothing(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    for number in range(3):
        await runtime_pool.execute(INSERT, INSTALLATIONS.name, str(number), b"v", "{}")
    relay = OutboxRelay(runtime_pool, BrokenOnce(producer))
    with pytest.raises(KafkaTimeoutError):
        await relay.publish()
    assert await waiting(runtime_pool) == 3
    assert await relay.publish() == 3
    keys = [key for key, _ in await read(fresh_kafka_bootstrap, INSTALLATIONS.name, 4)]
    assert keys == [b"0", b"0", b"1", b"2"]


async def test_a_key_that_is_no_text_is_published_as_it_is(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    async with runtime_pool.acquire() as connection:
        await add(connection, Message(INSTALLATIONS.name, b"\xff\0", b"v", [("n", "1")]))
    assert await OutboxRelay(runtime_pool, producer).publish() == 1
    assert await read(fresh_kafka_bootstrap, INSTALLATIONS.name, 1) == [(b"\xff\0", b"v")]


def without_value(message: Message) -> Message:
    return replace(message, value=None)


async def test_a_message_that_kafka_refuses_for_its_size_goes_in_outline_and_holds_up_nothing(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    async with runtime_pool.acquire() as connection:
        for number, size in enumerate((1, 1_100_000, 1)):
            await add(connection, Message(INSTALLATIONS.name, b"%d" % number, b"v" * size, ()))
    with pytest.raises(MessageSizeTooLargeError):
        await OutboxRelay(runtime_pool, producer).publish()
    assert await waiting(runtime_pool) == 3
    assert await OutboxRelay(runtime_pool, producer, without_value).publish() == 3
    assert await waiting(runtime_pool) == 0
    found = dict.fromkeys(await read(fresh_kafka_bootstrap, INSTALLATIONS.name, 5))
    assert list(found) == [(b"0", b"v"), (b"1", None), (b"2", b"v")]


async def test_one_relay_publishes_at_a_time(runtime_pool: Pool, producer: AIOKafkaProducer) -> None:
    await runtime_pool.execute(INSERT, "t", "k", b"v", "{}")
    relays = [OutboxRelay(runtime_pool, producer) for _ in range(4)]
    assert sorted(await asyncio.gather(*(relay.publish() for relay in relays)))[-1] == 1
    assert await waiting(runtime_pool) == 0


async def test_the_running_relay_publishes_what_it_is_woken_for(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    relay = OutboxRelay(runtime_pool, producer)
    task = asyncio.create_task(relay.run())
    try:
        await runtime_pool.execute(INSERT, INSTALLATIONS.name, "k", b"v", "{}")
        relay.wake()
        assert await read(fresh_kafka_bootstrap, INSTALLATIONS.name, 1) == [(b"k", b"v")]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_row_with_a_trace_is_sent_as_a_part_of_it(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    tracing, spans = recording()
    for headers in ({"traceparent": SAMPLED}, {"traceparent": "rubbish"}, {}):
        await runtime_pool.execute(INSERT, INSTALLATIONS.name, "key", b"value", json.dumps({"ce_id": "1"} | headers))
    assert await OutboxRelay(runtime_pool, producer, tracing=tracing).publish() == 3
    first, second, third = await read_headers(fresh_kafka_bootstrap, INSTALLATIONS.name, 3)
    sent, anew = spans.get_finished_spans()
    assert sent.name == f"send {INSTALLATIONS.name}"
    assert (sent.parent, anew.parent) == (REMOTE, None)
    assert (of_record(first), of_record(second)) == (as_remote(sent), as_remote(anew))
    assert [name for name, _ in first] == ["ce_id", "traceparent"]
    assert third == [("ce_id", b"1")]


async def test_without_tracing_a_row_goes_on_as_it_is(
    runtime_pool: Pool, producer: AIOKafkaProducer, fresh_kafka_bootstrap: str
) -> None:
    await runtime_pool.execute(INSERT, INSTALLATIONS.name, "key", b"value", json.dumps({"traceparent": SAMPLED}))
    assert await OutboxRelay(runtime_pool, producer).publish() == 1
    assert await read_headers(fresh_kafka_bootstrap, INSTALLATIONS.name, 1) == [[("traceparent", SAMPLED.encode())]]


async def read_headers(bootstrap: str, topic: str, count: int) -> list[list[tuple[str, bytes]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(20):
            return [list((await consumer.getone()).headers) for _ in range(count)]
    finally:
        await consumer.stop()


def as_remote(span: ReadableSpan) -> SpanContext:
    """The context of a span as whoever gets the record reads it."""
    assert span.context is not None
    found = span.context
    return SpanContext(found.trace_id, found.span_id, is_remote=True, trace_flags=found.trace_flags)
