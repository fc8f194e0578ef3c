"""Reading a topic as those do who follow it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.common.directory import REVISION_HEADER, Installation, decode_installation
from services.common.topics import INSTALLATIONS

PARTITION = TopicPartition(INSTALLATIONS.name, 0)


@dataclass(frozen=True)
class Announcement:
    """One record of ``outlet.installations``; ``installation`` is None in a tombstone."""

    key: str
    revision: int
    installation: Installation | None

    @property
    def status(self) -> str | None:
        return None if self.installation is None else self.installation.status


class Announcements:
    """The records of the topic from its beginning."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.seen: list[Announcement] = []

    async def until(self, holds: Callable[[Announcement], bool]) -> Announcement:
        """Read on until a record holds; the test's own limit bounds the wait."""
        async for record in self._consumer:
            self.seen.append(_read(record.key, record.value, dict(record.headers)))
            if holds(self.seen[-1]):
                return self.seen[-1]
        raise AssertionError("the consumer ended")

    async def to_end(self) -> list[Announcement]:
        """Everything that is on the topic now."""
        end = (await self._consumer.end_offsets([PARTITION]))[PARTITION]
        while await self._consumer.position(PARTITION) < end:
            record = await self._consumer.getone()
            self.seen.append(_read(record.key, record.value, dict(record.headers)))
        return self.seen

    def statuses(self, installation_id: str) -> list[str | None]:
        return [record.status for record in self.seen if record.key == installation_id]


def _read(key: bytes, value: bytes | None, headers: dict[str, bytes]) -> Announcement:
    installation = None if value is None else decode_installation(value)
    return Announcement(key.decode(), int(headers[REVISION_HEADER]), installation)


@asynccontextmanager
async def following(bootstrap: str) -> AsyncIterator[Announcements]:
    """Follow the topic of installations from its beginning."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([PARTITION])
        await consumer.seek_to_beginning(PARTITION)
        yield Announcements(consumer)
    finally:
        await consumer.stop()
