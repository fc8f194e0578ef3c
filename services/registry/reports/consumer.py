"""Turns the workers' execution summaries into statistics and errors of installations, each summary once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Self
from uuid import UUID

import msgspec
import structlog
from aiokafka import ConsumerRecord

from services.common.reports import ExecutionError, ExecutionSummary, decode_summary
from services.common.topics import EXECUTIONS
from services.registry.database import Transaction
from services.registry.following import follow
from services.registry.installations.repository import InstallationRepository
from services.registry.models import InstallationError
from services.registry.reports.repository import ReportRepository

log = structlog.get_logger(__name__)

GROUP = "outlet.registry"


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
    """Follows ``outlet.executions``. A summary that was counted is recognised by its cursor."""

    def __init__(self, bootstrap: str, transaction: Transaction) -> None:
        self._bootstrap = bootstrap
        self._transaction = transaction

    async def run(self) -> None:
        """Follow until cancelled; a database or broker that is away delays."""
        await follow(self._bootstrap, EXECUTIONS, GROUP, self.apply, begin=self._forget_old_cursors)

    async def _forget_old_cursors(self) -> None:
        async with self._transaction() as session:
            await ReportRepository(session).forget_old_cursors()

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
