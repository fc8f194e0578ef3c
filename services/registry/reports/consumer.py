"""Turns the workers' execution summaries into statistics and errors of installations, each summary once.

Every registry reads all partitions: a summary that was counted is recognised by its cursor, so there is no group to
join, whose members would make a start or a stop wait for one that died. Offsets are kept under the group's name.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Self
from uuid import UUID

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.common.errors import Unavailable
from services.common.reports import ExecutionError, ExecutionSummary, decode_summary
from services.common.topics import EXECUTIONS
from services.registry.database import Transaction
from services.registry.installations.repository import InstallationRepository
from services.registry.models import InstallationError
from services.registry.reports.repository import ReportRepository

log = structlog.get_logger(__name__)

GROUP = "outlet.registry"
BATCH = 500
POLL_MS = 500
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """A summary whose parts were understood."""

    installation_id: UUID
    summary: ExecutionSummary
    last_used: datetime
    errors: list[InstallationError]

    @classmethod
    def read(cls, value: bytes | None) -> Self:
        """Raises ValueError (which msgspec's errors are)."""
        if value is None:
            raise ValueError("a summary has a value")
        summary = decode_summary(value)
        installation_id = UUID(summary.installation_id)
        errors = [_error(installation_id, error) for error in summary.errors]
        return cls(installation_id, summary, _moment(summary.last_used), errors)


class ReportConsumer:
    """Follows ``outlet.executions``. Offsets are committed after the database: a crash repeats, and loses nothing."""

    def __init__(self, bootstrap: str, transaction: Transaction) -> None:
        self._bootstrap = bootstrap
        self._transaction = transaction

    async def run(self) -> None:
        """Follow until cancelled; a database or broker that is away delays."""
        while True:
            try:
                await self._follow()
            except (KafkaError, Unavailable) as error:
                log.warning("execution summaries not counted, trying again", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        async with self._transaction() as session:
            await ReportRepository(session).forget_old_cursors()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
            while True:
                _assign(consumer)
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
                records = [record for batch in batches.values() for record in batch]
                if records:
                    await self.apply(records)
                    await consumer.commit()
        finally:
            await consumer.stop()

    async def apply(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """Count what is new in a batch, in one transaction."""
        reports = [report for report in map(_read, records) if report is not None]
        async with self._transaction() as session:
            # In the order of ids, so that two registries never wait for each other in a circle.
            for report in sorted(reports, key=attrgetter("installation_id")):
                counting, installations = ReportRepository(session), InstallationRepository(session)
                if not await counting.lock(report.installation_id):
                    continue  # uninstalled meanwhile
                summary = report.summary
                if not await counting.advance(report.installation_id, summary.worker_id, summary.sequence):
                    continue
                await counting.count(report.installation_id, summary, report.last_used)
                for error in report.errors:
                    await installations.record(error)


def _assign(consumer: AIOKafkaConsumer) -> None:
    """Read all partitions that are known by now: the first one makes the client learn of the others."""
    known = consumer.partitions_for_topic(EXECUTIONS.name) or {0}
    partitions = {TopicPartition(EXECUTIONS.name, number) for number in known}
    if partitions != consumer.assignment():
        consumer.assign(list(partitions))


def _read(record: "ConsumerRecord[bytes, bytes]") -> Report | None:
    try:
        return Report.read(record.value)
    except ValueError as error:
        log.error(
            "an execution summary cannot be read", partition=record.partition, offset=record.offset, error=str(error)
        )
        return None


def _error(installation_id: UUID, error: ExecutionError) -> InstallationError:
    return InstallationError(
        installation_id=installation_id,
        at=_moment(error.at),
        source="plugin",
        code=error.code,
        message=error.message,
        stack=error.stack,
        during=error.during,
        event_id=error.event_id,
    )


def _moment(text: str) -> datetime:
    moment = msgspec.convert(text, datetime)  # RFC 3339
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
