"""SQL of the changes that plugins make to their own settings."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.models import AppliedChange

KEPT = timedelta(days=30)
"""Far longer than a change is redelivered."""


class AppliedChanges:
    """Which changes were decided on, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def known(self, installation_id: UUID, ids: Collection[str]) -> set[str]:
        """Those of ``ids`` that were decided on before."""
        own = (col(AppliedChange.installation_id) == installation_id, col(AppliedChange.id).in_(ids))
        return set((await self._session.exec(select(AppliedChange.id).where(*own))).all())

    async def add(self, installation_id: UUID, ids: Collection[str]) -> None:
        """Remember changes, and forget those of the installation that are older than 30 days."""
        rows = [{"installation_id": installation_id, "id": each} for each in ids]
        await self._session.exec(insert(AppliedChange).values(rows))
        old = col(AppliedChange.applied_at) < func.now() - KEPT
        await self._session.exec(
            delete(AppliedChange).where(col(AppliedChange.installation_id) == installation_id, old)
        )
