"""Reading installations."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.common.auth import MANAGES, Caller
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.common.workers import WorkerSource
from services.registry.database import Transaction
from services.registry.installations.publication import breaker_of
from services.registry.installations.repository import InstallationFilter, InstallationRepository
from services.registry.installations.rollout import rollout_of
from services.registry.installations.schemas import (
    BreakerDocument,
    ErrorDocument,
    InstallationDetails,
    InstallationStats,
    InstallationSummary,
)
from services.registry.installations.scope import check_sees
from services.registry.models import InstallationError
from services.registry.reports.documents import usage_members
from services.registry.reports.repository import ReportRepository


class InstallationQueries:
    """What a caller may see of installations."""

    def __init__(self, transaction: Transaction, workers: WorkerSource) -> None:
        self._transaction = transaction
        self._workers = workers

    async def find(self, wanted: InstallationFilter, limit: int, cursor: str | None) -> Page[InstallationSummary]:
        """One page, oldest first."""
        if cursor is not None:
            wanted = replace(wanted, after=_position(cursor))
        async with self._transaction() as session:
            rows = await InstallationRepository(session).find(wanted, limit + 1)
        page = [InstallationSummary.of(*row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items=page)
        last = rows[limit - 1][0]
        return Page(items=page, next_cursor=encode_cursor(last.created_at.isoformat(), str(last.id)))

    async def details(self, caller: Caller, installation_id: UUID) -> InstallationDetails:
        """Everything of one installation. Raises NotFound when it is none of the caller's."""
        async with self._transaction() as session:
            installations = InstallationRepository(session)
            installation, version = check_sees(caller, await installations.get(installation_id))
            errors = _documents(caller, await installations.errors(installation_id))
        rollout = await rollout_of(self._workers, installation.revision)
        breaker = BreakerDocument.model_validate(breaker_of(installation))
        return InstallationDetails.of(
            installation, version, errors=errors, breaker=breaker, backlog=installation.backlog, rollout=rollout
        )

    async def stats(self, caller: Caller, installation_id: UUID) -> InstallationStats:
        """The usage and health of one installation. Raises NotFound when it is none of the caller's."""
        async with self._transaction() as session:
            installations = InstallationRepository(session)
            installation, _ = check_sees(caller, await installations.get(installation_id))
            errors = _documents(caller, await installations.errors(installation_id))
            reports = ReportRepository(session)
            usage, recent = await reports.usage(installation_id), await reports.recent(installation_id)
        return InstallationStats.of(installation, errors, **usage_members(usage, recent))


def _documents(caller: Caller, errors: Sequence[InstallationError]) -> list[ErrorDocument]:
    return [ErrorDocument.of(error, with_stack=caller.role in MANAGES) for error in errors]


def _position(cursor: str) -> tuple[datetime, UUID]:
    created_at, installation_id = decode_cursor(cursor, 2)
    try:
        position = datetime.fromisoformat(created_at), UUID(installation_id)
    except ValueError:
        raise invalid_cursor() from None
    if position[0].tzinfo is None:
        raise invalid_cursor()
    return position
