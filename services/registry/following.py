"""Following a topic of the workers', from where the registry left off.

Every registry reads all partitions: what was applied is recognised by those who apply it, so there is no group to join,
whose members would make a start or a stop wait for one that died. Offsets are kept under the group's name, after the
database: a crash repeats, and loses nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.common.errors import Unavailable
from services.common.topics import Topic

log = structlog.get_logger(__name__)

BATCH = 500
POLL_MS = 500
RETRY_SECONDS = 1.0

Apply = Callable[["Sequence[ConsumerRecord[bytes, bytes]]"], Awaitable[None]]


async def follow(
    bootstrap: str, topic: Topic, group: str, apply: Apply, *, begin: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Apply every batch of records until cancelled; a database or broker that is away delays.

    ``begin`` is called before the first one, and after each delay.
    """
    while True:
        try:
            if begin is not None:
                await begin()
            await _follow(bootstrap, topic, group, apply)
        except (KafkaError, Unavailable) as error:
            log.warning("topic cannot be followed, trying again", topic=topic.name, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)


async def _follow(bootstrap: str, topic: Topic, group: str, apply: Apply) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        while True:
            _assign(consumer, topic)
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
            records = [record for batch in batches.values() for record in batch]
            if records:
                await apply(records)
                await consumer.commit()
    finally:
        await consumer.stop()


def _assign(consumer: AIOKafkaConsumer, topic: Topic) -> None:
    """Read all partitions that are known by now: the first one makes the client learn of the others."""
    known = consumer.partitions_for_topic(topic.name) or {0}
    partitions = {TopicPartition(topic.name, number) for number in known}
    if partitions != consumer.assignment():
        consumer.assign(list(partitions))
