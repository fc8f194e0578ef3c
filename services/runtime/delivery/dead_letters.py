"""What could not be processed is kept, with its headers and the reason, on topic ``outlet.dead-letters``."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import stamina
import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from services.common.events import DomainEvent
from services.common.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

REASON_LENGTH = 2_000
OUTLINE_BYTES = 64 * 1024

Header = tuple[str, bytes]


class DeadLetters:
    """Publishes dead letters. A record is done only once its dead letter is acknowledged."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def publish(self, record: "ConsumerRecord[bytes, bytes]", code: str, reason: str, **facts: str) -> None:
        """Keep ``record`` as it came, with where it came from, why, and ``facts`` as headers ``outlet_<name>``.

        Waits for a broker that is away: nothing is dropped. A record that what is added makes too large for Kafka is
        kept in outline, which ``outlet_omitted`` says; the whole of it stays where it came from.
        """
        added: Mapping[str, str] = {
            "code": code,
            "reason": reason[:REASON_LENGTH],
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            **facts,
        }
        await self._keep(record.key, record.value, list(record.headers), added)

    async def keep(self, event: DomainEvent, key: bytes, code: str, reason: str, **facts: str) -> None:
        """Keep an event that a plugin has failed for good, under its record ``key``. Waits as :meth:`publish` does."""
        added = {"code": code, "reason": reason[:REASON_LENGTH], **facts}
        await self._keep(key, event.data, event.headers(), added)

    async def _keep(
        self, key: bytes | None, value: bytes | None, headers: Sequence[Header], added: Mapping[str, str]
    ) -> None:
        facts = [(f"outlet_{name}", fact.encode(errors="replace")) for name, fact in added.items()]
        try:
            await self._send(key, value, [*headers, *facts])
        except MessageSizeTooLargeError:
            omitted = ("outlet_omitted", f"value of {len(value or b'')} bytes".encode())
            short_key = key if len(key or b"") <= OUTLINE_BYTES else None
            await self._send(short_key, None, [*_first(headers), *facts, omitted])
        log.warning("dead letter", **added)

    async def _send(self, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> None:
        async for attempt in stamina.retry_context(on=_may_pass, attempts=None, timeout=None):
            with attempt:
                await self._producer.send_and_wait(DEAD_LETTERS.name, key=key, value=value, headers=headers)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, KafkaError) and not isinstance(error, MessageSizeTooLargeError)


def _first(headers: Sequence[Header]) -> list[Header]:
    """The headers that fit into an outline."""
    sizes = accumulate(len(name) + len(content or b"") for name, content in headers)
    return [header for header, size in zip(headers, sizes, strict=True) if size <= OUTLINE_BYTES]
