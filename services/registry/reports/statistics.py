"""Keeps what insights tells of the last minute of each installation: the newest replaces what was told before."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord

from services.common.insights import Statistics, decode_statistics
from services.registry.database import Transaction
from services.registry.reports.executions import moment
from services.registry.reports.repository import ReportRepository

log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """Statistics whose parts were understood."""

    at: datetime
    statistics: Statistics


class StatisticsKeeper:
    """Keeps statistics in the database."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def apply(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """Keep the newest of each installation, in one transaction."""
        newest: dict[UUID, Told] = {}
        for record in records:
            try:
                statistics = decode_statistics(record.value)
                installation_id, at = UUID(statistics.installation_id), moment(statistics.at)
            except ValueError as error:
                log.error("statistics cannot be read", offset=record.offset, error=str(error))
                continue
            if installation_id not in newest or newest[installation_id].at < at:
                newest[installation_id] = Told(at, statistics)
        async with self._transaction() as session:
            repository = ReportRepository(session)
            for installation_id, told in sorted(newest.items()):
                if await repository.lock(installation_id):
                    await repository.keep_recent(installation_id, told.at, told.statistics)
