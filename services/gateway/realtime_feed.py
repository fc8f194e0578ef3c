"""What is shown on screens, followed from Kafka: by every gateway for itself, from now on."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.common.events import DomainEvent, MalformedEvent, read_event
from services.common.topics import NOTIFICATIONS, PLUGIN_EVENTS

log = structlog.get_logger(__name__)

TOPICS = (PLUGIN_EVENTS.name, NOTIFICATIONS.name)
RETRY_SECONDS = 1.0


class RealtimeFeed:
    """Passes on each event once. A gateway that was away has missed some, as its screens have."""

    def __init__(self, bootstrap: str, deliver: Callable[[DomainEvent], Awaitable[None]]) -> None:
        self._bootstrap = bootstrap
        self._deliver = deliver
        self.following = asyncio.Event()
        """Set once everything that comes from now on is passed on."""

    async def run(self) -> None:
        """Follow until cancelled. A broker that is away is waited for."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                log.warning("events for screens cannot be followed, trying again", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            *TOPICS,
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            request_timeout_ms=5_000,
            metadata_max_age_ms=10_000,
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            await consumer.seek_to_end()
            self.following.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        await self._pass_on(record.headers, record.value)
        finally:
            await consumer.stop()

    async def _pass_on(self, headers: list[tuple[str, bytes]], value: bytes | None) -> None:
        try:
            event = read_event(headers, value)
        except MalformedEvent as error:
            log.warning("a record for screens cannot be read", error=str(error))
            return
        await self._deliver(event)
