"""The one broker of a run: a real Kafka where there is Java for it, else the embedded one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from bench.feed import QUIET
from deploy.local import Kafka
from deploy.local.kafka import fetch_jars, jars
from outlet.local.broker import Broker as EmbeddedBroker
from outlet.local.errors import PlatformError
from services.common.kafka import ensure_topics
from services.common.topics import CATALOGUE, EVENT_TOPICS, Topic

PARTITIONS = 6
"""Of each topic on a real Kafka; they can be shared by one, two or three workers alike."""
EMBEDDED_PARTITIONS = 4
EMBEDDED_LIMIT = 15_000
"""Events that can wait on the embedded broker: it keeps about 5 MB per partition, and what is older vanishes."""
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Broker:
    """``most``: so many events can wait there at once; None: any number."""

    bootstrap: str
    name: str
    real: bool
    partitions: int
    most: int | None

    def bounded(self, count: int) -> int:
        """So many events, or as many as can wait here."""
        return count if self.most is None else min(count, self.most)

    async def make_topic(self, topic: Topic) -> None:
        """Make a topic; on the embedded broker they come into being by themselves."""
        if self.real:
            await ensure_topics(self.bootstrap, partitions=PARTITIONS, replication=1, topics=[topic])

    async def begin_group(self, group: str) -> None:
        """A consumer group that begins with the events that come from now on, on every topic of events."""
        await asyncio.to_thread(_commit_ends, self.bootstrap, group, [topic.name for topic in EVENT_TOPICS])


@asynccontextmanager
async def open_broker(directory: Path, *, embedded: bool) -> AsyncIterator[Broker]:
    """A broker for the time of a run. ``embedded``: that one even where a real one could be had."""
    lack = "it was asked for" if embedded else await _lack()
    if lack is None:
        async with Kafka(directory / "kafka") as kafka:
            await ensure_topics(kafka.bootstrap, partitions=PARTITIONS, replication=1, topics=CATALOGUE)
            yield Broker(kafka.bootstrap, f"Apache Kafka {_version()}", real=True, partitions=PARTITIONS, most=None)
        return
    broker = EmbeddedBroker()
    await broker.start()
    try:
        name = f"embedded in librdkafka ({lack})"
        yield Broker(broker.bootstrap, name, real=False, partitions=EMBEDDED_PARTITIONS, most=EMBEDDED_LIMIT)
    finally:
        await broker.stop()


async def _lack() -> str | None:
    """What a real Kafka would need that is not here."""
    try:
        Kafka.require_programs()
        await fetch_jars()
    except PlatformError as error:
        return str(error)
    return None


def _version() -> str:
    (jar,) = jars().glob("kafka-clients-*.jar")
    return jar.stem.removeprefix("kafka-clients-")


def _commit_ends(bootstrap: str, group: str, topics: Iterable[str]) -> None:
    # On the embedded broker a topic comes into being when it is asked for.
    asking = {"bootstrap.servers": bootstrap, "log_level": QUIET, "allow.auto.create.topics": True}
    consumer = Consumer(asking | {"group.id": group})
    try:
        ends = []
        for topic in topics:
            for partition in consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions:
                place = TopicPartition(topic, partition)
                _, end = consumer.get_watermark_offsets(place, timeout=SECONDS)
                ends.append(TopicPartition(topic, partition, end))
        committed = consumer.commit(offsets=ends, asynchronous=False)
        failed = [each for each in committed if each.error is not None]
        if failed:
            raise RuntimeError(f"offsets of {group} not committed: {failed[0]}")
    finally:
        consumer.close()
