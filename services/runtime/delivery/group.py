"""A worker's membership in the consumer group of all workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamina
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from services.common.kafka import CONNECT_SECONDS

GROUP = "outlet.runtime"
HEARTBEATS_PER_SESSION = 5
LONGEST_HEARTBEAT = 0.5
"""Seconds. A member hears of a rebalance by its next heartbeat, and all others wait for it."""
REJOIN_SECONDS = 5.0
"""How long the group waits for a worker beyond the time in which this one lets its hooks end."""
METADATA_SECONDS = 10.0
"""How often a worker asks which partitions there are."""


@asynccontextmanager
async def open_consumer(
    bootstrap: str, group: str, *, instance: str | None, session_timeout: float, drain_seconds: float
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that is connected and has not subscribed yet, stopped on exit. Waits for a broker that is not up yet.

    ``instance`` makes it a static member (KIP-345). Times are seconds.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=_milliseconds(session_timeout),
        heartbeat_interval_ms=_milliseconds(min(session_timeout / HEARTBEATS_PER_SESSION, LONGEST_HEARTBEAT)),
        rebalance_timeout_ms=_milliseconds(max(session_timeout, drain_seconds + REJOIN_SECONDS)),
        max_poll_interval_ms=600_000,
        metadata_max_age_ms=_milliseconds(METADATA_SECONDS),
        fetch_max_wait_ms=100,
    )
    try:
        async for attempt in stamina.retry_context(on=KafkaConnectionError, attempts=None, timeout=CONNECT_SECONDS):
            with attempt:
                await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
