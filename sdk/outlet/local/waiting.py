"""Waiting, in bounded time, for what happens in other processes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from outlet.samples.records import Position

INTERVAL_SECONDS = 0.05


class NotInTime(Exception):
    """What was waited for did not happen within the time allowed."""


async def until(condition: Callable[[], Awaitable[bool]], *, within: float, what: str) -> None:
    """Ask again and again until ``condition`` answers True. Raises :class:`NotInTime` after ``within`` seconds."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - the condition lives in another process
                await asyncio.sleep(INTERVAL_SECONDS)
    except TimeoutError:
        raise NotInTime(f"{what}: not within {within:g} s") from None


async def until_consumed(bootstrap: str, group: str, positions: Iterable[Position], *, within: float) -> None:
    """Wait until the consumer group has committed past all these records, that is, is done with them for good."""
    ends: dict[TopicPartition, int] = {}
    for position in positions:
        partition = TopicPartition(position.topic, position.partition)
        ends[partition] = max(ends.get(partition, 0), position.offset + 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def passed() -> bool:
        committed = await admin.list_consumer_group_offsets(group, partitions=list(ends))
        return all(partition in committed and committed[partition].offset >= end for partition, end in ends.items())

    try:
        await until(passed, within=within, what=f"consumer group {group} passes every record")
    finally:
        await admin.close()
