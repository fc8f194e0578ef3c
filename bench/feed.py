"""Puts events on Kafka: all at once, or at a steady rate."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.refusal import Refused
from bench.workload import ORGANIZATION, Document, Workload
from services.common.events import DomainEvent

SOURCE = "urn:bench"
TICK_SECONDS = 0.001
FLUSH_SECONDS = 60.0
QUIET = 2
"""librdkafka's log level: what it logs of a broker that goes away at the end of a run is nobody's business."""
CREATED = "createdAt"


class Feed:
    """A producer with ``acks=all``. Its calls block: run them in a thread."""

    def __init__(self, bootstrap: str) -> None:
        settings = {"bootstrap.servers": bootstrap, "log_level": QUIET}
        buffer = {"queue.buffering.max.messages": 1_000_000}
        self._producer = Producer(settings | buffer | {"acks": "all", "linger.ms": 2})
        self._looking = Consumer(settings | {"group.id": "bench.feed"})

    def burst(self, workload: Workload, documents: Sequence[Document]) -> Counter[int]:
        """Send all, as fast as it goes; how many came to be in each partition. Raises Refused when some did not."""
        before = self._ends(workload.topic)
        for document in documents:
            _Record(workload, document).send(self._producer, time.time())
            self._producer.poll(0)
        self._flush()
        placed = self._ends(workload.topic)
        placed.subtract(before)
        if placed.total() != len(documents):
            raise Refused(f"{placed.total():,} of {len(documents):,} events reached the broker")
        return placed

    def paced(self, workload: Workload, documents: Sequence[Document], rate: float) -> float:
        """Send ``rate`` a second, each marked with the time when it was due, so that no delay here goes unseen.

        Returns how many a second it came to.
        """
        records = [_Record(workload, document) for document in documents]
        begun, start, sent = time.time(), time.perf_counter(), 0
        while sent < len(records):
            due = min(int((time.perf_counter() - start) * rate) + 1, len(records))
            for number in range(sent, due):
                records[number].send(self._producer, begun + number / rate)
            sent = due
            self._producer.poll(0)
            time.sleep(TICK_SECONDS)
        reached = len(records) / (time.perf_counter() - start)
        self._flush()
        return reached

    def close(self) -> None:
        """Give up the connections."""
        self._looking.close()

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_SECONDS)
        if left:
            raise Refused(f"the broker did not take {left:,} events in {FLUSH_SECONDS:g} s")

    def _ends(self, topic: str) -> Counter[int]:
        partitions = self._looking.list_topics(topic, timeout=FLUSH_SECONDS).topics[topic].partitions
        places = [TopicPartition(topic, partition) for partition in partitions]
        return Counter(
            {place.partition: self._looking.get_watermark_offsets(place, timeout=FLUSH_SECONDS)[1] for place in places}
        )


class _Record:
    """All of an event but the time when it is made, so that sending it costs next to nothing."""

    __slots__ = ("_headers", "_key", "_topic", "_value")

    def __init__(self, workload: Workload, document: Document) -> None:
        data = msgspec.json.encode({**document, CREATED: ""})
        self._value = data.split(f'"{CREATED}":"'.encode(), 1)
        event = DomainEvent(document["id"], workload.event, SOURCE, "", ORGANIZATION, document["storeId"], b"")
        self._headers = [header for header in event.headers() if header[0] != "ce_time"]
        self._key = event.record_key(event.id)
        self._topic = workload.topic

    def send(self, producer: Producer, created: float) -> None:
        at = datetime.fromtimestamp(created, UTC).isoformat().encode()
        before, after = self._value
        value = b'%b"%b":"%b%b' % (before, CREATED.encode(), at, after)
        producer.produce(self._topic, value, self._key, headers=[*self._headers, ("ce_time", at)])
