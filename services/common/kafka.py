"""Kafka clients with the platform's guarantees: producers wait for all replicas, topics come from the catalogue."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from services.common.topics import CATALOGUE, Topic

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 60.0
REQUEST_SECONDS = 10.0
"""After so long without an acknowledgement a record is given up, and whoever sent it is told."""
FLUSH_SECONDS = 1.0


@asynccontextmanager
async def open_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with ``acks=all``, flushed and closed on exit. Waits for a broker that is not up yet.

    A record may arrive twice when its acknowledgement is lost; readers recognise it by the event's id or revision. An
    idempotent producer could spare them that, but aiokafka's does not survive an outage: records that it gave up after
    ``REQUEST_SECONDS`` leave a gap in its sequence numbers, and from then on the broker refuses everything
    (OutOfOrderSequenceNumber) until the process ends.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", linger_ms=2, request_timeout_ms=round(REQUEST_SECONDS * 1000)
    )
    try:
        async for attempt in stamina.retry_context(on=KafkaConnectionError, attempts=None, timeout=CONNECT_SECONDS):
            with attempt:
                await producer.start()
        yield producer
    finally:
        await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Flush and close. For a broker that is gone this would wait until every record is given up, so it is bounded."""
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait([stopping], timeout=FLUSH_SECONDS)
    if not done:
        log.warning("the broker is away: records that nobody waits for are given up")
        await producer._sender.close()  # aiokafka offers no other way out of stop()
    await stopping


async def ensure_topics(
    bootstrap: str, *, partitions: int, replication: int, topics: Iterable[Topic] = CATALOGUE
) -> None:
    """Create the topics that do not exist; leave the others as they are. Raises KafkaError when the broker refuses."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async for attempt in stamina.retry_context(on=KafkaConnectionError, attempts=None, timeout=CONNECT_SECONDS):
            with attempt:
                await admin.start()
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(
                topic.name, topic.partitions or partitions, replication, topic_configs={"cleanup.policy": topic.cleanup}
            )
            for topic in topics
            if topic.name not in existing
        ]
        if not missing:
            return
        response = await admin.create_topics(missing)
        for name, code, *message in response.topic_errors:
            error = for_code(code)
            if error not in (for_code(0), TopicAlreadyExistsError):
                raise KafkaError(f"topic {name} cannot be created: {error.__name__} {message}")
        log.info("topics created", topics=[topic.name for topic in missing])
    finally:
        await admin.close()
