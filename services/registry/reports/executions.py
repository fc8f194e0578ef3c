"""Turns the workers' execution summaries into statistics and errors of installations, each summary once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Self
from uuid import UUID

import msgspec
import structlog
from aiokafka import ConsumerRecord
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.reports import ExecutionError, ExecutionSummary, decode_summary
from services.registry.database import Transaction
from services.registry.installations.repository import InstallationRepository
from services.registry.models import InstallationError
from services.registry.reports.repository import ReportRepository
from services.registry.reports.usage import Usage

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
        if any("\0" in name for hook in summary.hooks for name in (hook.hook, hook.store)):
            raise ValueError("the name of a hook or a store has the character NUL, which cannot be stored")
        installation_id = UUID(summary.installation_id)
        errors = [_error(installation_id, error) for error in summary.errors]
        return cls(installation_id, summary, moment(summary.last_used), errors)


class ExecutionCounter:
    """Counts summaries in the database."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def apply(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """Count what is new in a batch, in one transaction."""
        reports = [report for report in map(_read, records) if report is not None]
        by_installation = attrgetter("installation_id")
        async with self._transaction() as session:
            # In the order of ids, so that two registries never wait for each other in a circle.
            for installation_id, own in groupby(sorted(reports, key=by_installation), by_installation):
                await _count(session, installation_id, own)


async def _count(session: AsyncSession, installation_id: UUID, reports: Iterable[Report]) -> None:
    counting, installations = ReportRepository(session), InstallationRepository(session)
    if not await counting.lock(installation_id):
        return  # uninstalled meanwhile
    usage = Usage()
    for report in reports:
        summary = report.summary
        if not await counting.advance(installation_id, summary.worker_id, summary.sequence):
            continue
        usage.add(summary, report.last_used)
        for error in report.errors:
            await installations.record(error)
    if usage.last_used is not None:
        await counting.count(installation_id, usage, usage.last_used)
        await counting.count_hooks(installation_id, usage.hooks)


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
        at=moment(error.at),
        source=error.source,
        code=error.code,
        message=error.message,
        stack=error.stack,
        during=error.during,
        event_id=error.event_id,
    )


def moment(text: str) -> datetime:
    """The moment that a text (RFC 3339) says. Raises ValueError."""
    found = msgspec.convert(text, datetime)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
