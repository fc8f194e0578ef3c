"""SQL of execution summaries."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.reports import ExecutionSummary
from services.registry.models import Installation, ReportCursor

CURSORS_KEPT = timedelta(days=30)
"""Far longer than Kafka redelivers; workers of the past would pile up otherwise."""


class ReportRepository:
    """Counting summaries, each once, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, installation_id: UUID) -> bool:
        """Keep the installation from being removed meanwhile; False when there is none any more."""
        statement = update(Installation).where(col(Installation.id) == installation_id)
        found = await self._session.exec(statement.values(hook_runs=col(Installation.hook_runs)))
        return bool(found.rowcount)

    async def advance(self, installation_id: UUID, worker_id: str, sequence: int) -> bool:
        """Remember how far a worker's summaries are counted; False when this one was counted before."""
        row = {"installation_id": installation_id, "worker_id": worker_id, "sequence": sequence}
        statement = insert(ReportCursor).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["installation_id", "worker_id"],
            set_={"sequence": sequence, "updated_at": func.now()},
            where=col(ReportCursor.sequence) < sequence,
        )
        return bool((await self._session.exec(statement)).rowcount)

    async def count(self, installation_id: UUID, summary: ExecutionSummary, last_used: datetime) -> None:
        """Add a summary's counts."""
        statement = update(Installation).where(col(Installation.id) == installation_id)
        await self._session.exec(
            statement.values(
                hook_runs=col(Installation.hook_runs) + summary.hook_runs,
                hook_errors=col(Installation.hook_errors) + summary.hook_errors,
                route_calls=col(Installation.route_calls) + summary.route_calls,
                api_calls=col(Installation.api_calls) + summary.api_calls,
                last_used_at=func.greatest(col(Installation.last_used_at), last_used),
            )
        )

    async def forget_old_cursors(self) -> None:
        """Drop the cursors of workers that have not reported for 30 days."""
        await self._session.exec(delete(ReportCursor).where(col(ReportCursor.updated_at) < func.now() - CURSORS_KEPT))
