"""Carries out what insights decided about circuit breakers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord

from services.common.errors import Conflict
from services.common.insights import BreakerChange, decode_change
from services.registry.database import Transaction
from services.registry.installations.breaker import is_due, turn
from services.registry.installations.operations import Operations
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.models import Installation

log = structlog.get_logger(__name__)


class Breakers:
    """Carries out what insights decided, each decision once: it names the state of the breaker that it was made for."""

    def __init__(self, transaction: Transaction, operations: Operations) -> None:
        self._transaction = transaction
        self._operations = operations

    async def change(self, change: BreakerChange) -> bool:
        """Change a breaker; False when the decision is out of date, or an operation is running (it is told again).

        Raises ValueError when the id is none, and Unavailable while the database is away.
        """
        installation_id = UUID(change.installation_id)
        async with self._transaction() as session:
            installations, publications = InstallationRepository(session), PublicationLog(session)
            row = await installations.get(installation_id)
            if row is None or not is_due(row[0], change):
                return False
            revision = await publications.next_revision()
            row = await installations.lock(installation_id)
            now = await installations.now()
            if row is None or not is_due(row[0], change) or not self._is_idle(row[0], now):
                return False
            installation, version = row
            installation.revision = revision
            await turn(session, installation, change, now)
            await publications.announce(installation, version)
        self._operations.announced()
        log.info("breaker changed", installation=change.installation_id, to=change.state, reason=change.reason)
        return True

    def _is_idle(self, installation: Installation, now: datetime) -> bool:
        try:
            self._operations.check_idle(installation, now)
        except Conflict:
            return False
        return True


async def carry_out(breakers: Breakers, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
    """Carry out the decisions in records, in order. Raises Unavailable while the database is away."""
    for record in records:
        try:
            await breakers.change(decode_change(record.value))
        except ValueError as error:
            log.error("a decision about a breaker cannot be read", offset=record.offset, error=str(error))
