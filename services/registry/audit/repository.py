"""SQL of the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal, true
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.audit.chain import BEGINNING
from services.registry.audit.models import AuditEntry, AuditHead

Link = tuple[int, str, bytes]
"""Sequence, document and hash of an entry."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries of an organization to list; times are RFC 3339 in UTC, as entries have them."""

    organization: str
    action: str | None = None
    subject: str | None = None
    plugin_id: str | None = None
    installation_id: str | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None


class AuditRepository:
    """The chains of all organizations, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        """The database's clock as it is, not as it was when the transaction began: chains are in order of time."""
        moment: datetime = (await self._session.exec(select(func.clock_timestamp()))).one()
        return moment

    async def lock_head(self, organization: str) -> AuditHead:
        """The end of the organization's chain, which nobody else lengthens until the transaction ends."""
        begun = {"organization_id": organization, "sequence": 0, "hash": BEGINNING}
        await self._session.exec(insert(AuditHead).values(begun).on_conflict_do_nothing())
        statement = select(AuditHead).where(col(AuditHead.organization_id) == organization).with_for_update()
        # What this transaction has read of it before may be older than the lock.
        return (await self._session.exec(statement.execution_options(populate_existing=True))).one()

    async def add(self, head: AuditHead, entry: AuditEntry) -> None:
        self._session.add(entry)
        head.sequence, head.hash = entry.sequence, entry.hash
        await self._session.flush()

    async def head(self, organization: str) -> tuple[int, bytes, int]:
        """Sequence and hash that the chain is known to end with (0 and zeros: it is empty), and its highest sequence.

        In one statement, and so of one moment.
        """
        highest = select(func.coalesce(func.max(AuditEntry.sequence), 0)).where(
            col(AuditEntry.organization_id) == organization
        )
        head = select(AuditHead.sequence, AuditHead.hash).where(col(AuditHead.organization_id) == organization)
        known = head.subquery()
        statement = select(known.c.sequence, known.c.hash, highest.scalar_subquery()).select_from(
            select(literal(1)).subquery().outerjoin(known, true())
        )
        sequence, final, found = (await self._session.exec(statement)).one()
        return sequence or 0, final or BEGINNING, found

    async def after(self, organization: str, sequence: int, last: int, limit: int) -> Sequence[Link]:
        """Entries in their order, from after ``sequence`` to ``last``."""
        statement = (
            select(col(AuditEntry.sequence), col(AuditEntry.document), col(AuditEntry.hash))
            .where(
                col(AuditEntry.organization_id) == organization,
                col(AuditEntry.sequence) > sequence,
                col(AuditEntry.sequence) <= last,
            )
            .order_by(col(AuditEntry.sequence))
            .limit(limit)
        )
        return (await self._session.exec(statement)).all()

    async def find(self, wanted: AuditFilter, limit: int) -> Sequence[AuditEntry]:
        """The newest first."""
        statement = select(AuditEntry).where(col(AuditEntry.organization_id) == wanted.organization)
        for column, value in (
            (AuditEntry.action, wanted.action),
            (AuditEntry.actor, wanted.subject),
            (AuditEntry.plugin_id, wanted.plugin_id),
            (AuditEntry.installation_id, wanted.installation_id),
        ):
            if value is not None:
                statement = statement.where(col(column) == value)
        if wanted.since is not None:
            statement = statement.where(col(AuditEntry.at) >= wanted.since)
        if wanted.until is not None:
            statement = statement.where(col(AuditEntry.at) < wanted.until)
        if wanted.before is not None:
            statement = statement.where(col(AuditEntry.sequence) < wanted.before)
        return (await self._session.exec(statement.order_by(col(AuditEntry.sequence).desc()).limit(limit))).all()
