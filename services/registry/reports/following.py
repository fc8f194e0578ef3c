"""Following a topic of reports to its end and on, from where the registry has come to.

Every registry reads all partitions: what was counted is recognised by itself, so there is no group to join, whose
members would make a start or a stop wait for one that died. Offsets are kept under the group's name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.common.errors import Unavailable
from services.common.topics import Topic

log = structlog.get_logger(__name__)

GROUP = "outlet.registry"
BATCH = 500
POLL_MS = 500
RETRY_SECONDS = 1.0

Apply = Callable[["Sequence[ConsumerRecord[bytes, bytes]]"], Awaitable[None]]


class TopicFollower:
    """Hands batches of records to ``apply``, and commits their offsets after it: a crash repeats, and loses nothing.

    ``apply`` must bear a repetition. It raises Unavailable to get the same records again in a moment.
    """

    def __init__(self, bootstrap: str, topic: Topic, apply: Apply) -> None:
        self._bootstrap = bootstrap
        self._topic = topic.name
        self._apply = apply

    async def run(self) -> None:
        """Follow until cancelled; a database or broker that is away delays."""
        while True:
            try:
                await self._follow()
            except (KafkaError, Unavailable) as error:
                log.warning("reports not taken, trying again", topic=self._topic, error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
            while True:
                self._assign(consumer)
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
                records = [record for batch in batches.values() for record in batch]
                if records:
                    await self._apply(records)
                    await consumer.commit()
        finally:
            await consumer.stop()

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Read all partitions that are known by now: the first one makes the client learn of the others."""
        known = consumer.partitions_for_topic(self._topic) or {0}
        partitions = {TopicPartition(self._topic, number) for number in known}
        if partitions != consumer.assignment():
            consumer.assign(list(partitions))
