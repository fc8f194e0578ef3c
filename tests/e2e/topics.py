"""Looking into Kafka from outside."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from outlet.local.scenario import CONSUMER_GROUP
from outlet.local.waiting import until
from outlet.samples.records import Position
from services.common.topics import DEAD_LETTERS

POLL_MS = 200


async def end_offsets(bootstrap: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Where each partition of these topics ends now."""
    async with _reader(bootstrap, topics) as consumer:
        return dict(await consumer.end_offsets(consumer.assignment()))


async def read_topic(bootstrap: str, topic: str) -> "list[ConsumerRecord[bytes | None, bytes | None]]":
    """Every record that a topic holds now."""
    records: list[ConsumerRecord[bytes | None, bytes | None]] = []
    async with _reader(bootstrap, [topic]) as consumer:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                for found in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    records += found
    return records


def _reader(bootstrap: str, topics: Iterable[str]) -> AIOKafkaConsumer:
    """A consumer of all partitions, from their beginning, that is in no group."""
    return AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )


async def until_dead_letter(
    bootstrap: str, position: Position, *, within: float = 15.0
) -> "ConsumerRecord[bytes | None, bytes | None]":
    """Wait until the record at this position is a dead letter; the dead letter, which must be the only one."""
    origin = {
        ("outlet_topic", position.topic.encode()),
        ("outlet_partition", str(position.partition).encode()),
        ("outlet_offset", str(position.offset).encode()),
    }
    found: list[ConsumerRecord[bytes | None, bytes | None]] = []

    async def arrived() -> bool:
        letters = await read_topic(bootstrap, DEAD_LETTERS.name)
        found[:] = [letter for letter in letters if origin <= set(letter.headers)]
        return bool(found)

    await until(arrived, within=within, what=f"{position} is a dead letter")
    assert len(found) == 1
    return found[0]


async def until_group_has(bootstrap: str, members: int, *, within: float = 60.0) -> None:
    """Wait until so many workers share the partitions of the events."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def settled() -> bool:
        for response in await admin.describe_consumer_groups([CONSUMER_GROUP]):
            for group in response.groups:
                return group[2] == "Stable" and len(group[5]) == members
        return False

    try:
        await until(settled, within=within, what=f"consumer group {CONSUMER_GROUP} is stable with {members} members")
    finally:
        await admin.close()


async def send(
    bootstrap: str,
    topic: str,
    value: bytes | None,
    *,
    key: bytes | None = None,
    headers: "Iterable[tuple[str, bytes | None]]" = (),
) -> Position:
    """Produce one record as it is, however little sense it makes."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=1_048_576) as producer:
        placed = await producer.send_and_wait(topic, value, key=key, headers=list(headers))
    return Position(placed.topic, placed.partition, placed.offset)
