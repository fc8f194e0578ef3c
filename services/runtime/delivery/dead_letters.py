"""What could not be processed is kept, with its headers and the reason, on topic ``outlet.dead-letters``."""

from collections.abc import Iterable, Mapping

import stamina
import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from services.common.events import DomainEvent
from services.common.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

REASON_LENGTH = 2_000


class DeadLetters:
    """Publishes dead letters. A record is done only once its dead letter is acknowledged."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def publish(self, record: "ConsumerRecord[bytes, bytes]", code: str, reason: str, **facts: str) -> None:
        """Keep ``record`` as it came, with where it came from, why, and ``facts`` as headers ``outlet_<name>``.

        Waits for a broker that is away: nothing is dropped.
        """
        added: Mapping[str, str] = {
            "code": code,
            "reason": reason[:REASON_LENGTH],
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            **facts,
        }
        await self._send(record.key, record.value, record.headers, added)

    async def keep(self, event: DomainEvent, key: str, code: str, reason: str, **facts: str) -> None:
        """Keep what came from no record, as the event that it would have been. Waits for a broker that is away."""
        await self._send(
            event.record_key(key).encode(),
            event.data,
            event.headers(),
            {"code": code, "reason": reason[:REASON_LENGTH], **facts},
        )

    async def _send(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]], added: Mapping[str, str]
    ) -> None:
        marked = [*headers, *((f"outlet_{name}", fact.encode()) for name, fact in added.items())]
        async for attempt in stamina.retry_context(on=KafkaError, attempts=None, timeout=None):
            with attempt:
                await self._producer.send_and_wait(DEAD_LETTERS.name, key=key, value=value, headers=marked)
        log.warning("dead letter", **added)
