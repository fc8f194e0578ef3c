"""SQL of what workers and insights report."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common import latency
from services.common.insights import Statistics
from services.registry.models import HookUsage, Installation, RecentStatistics, ReportCursor
from services.registry.reports.usage import HookTotals, Usage

CURSORS_KEPT = timedelta(days=30)
"""Far longer than Kafka redelivers; workers of the past would pile up otherwise."""


class ReportRepository:
    """Reports, each once, within one transaction."""

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

    async def count(self, installation_id: UUID, usage: Usage, last_used: datetime) -> None:
        """Add counts to those of the whole installation."""
        statement = update(Installation).where(col(Installation.id) == installation_id)
        await self._session.exec(
            statement.values(
                hook_runs=col(Installation.hook_runs) + usage.hook_runs,
                hook_errors=col(Installation.hook_errors) + usage.hook_errors,
                route_calls=col(Installation.route_calls) + usage.route_calls,
                api_calls=col(Installation.api_calls) + usage.api_calls,
                last_used_at=func.greatest(col(Installation.last_used_at), last_used),
            )
        )

    async def count_hooks(self, installation_id: UUID, hooks: Mapping[tuple[str, str], HookTotals]) -> None:
        """Add counts to those of hooks by store; the installation is locked, so nobody else does meanwhile."""
        if not hooks:
            return
        known = await self._session.exec(
            select(HookUsage).where(
                col(HookUsage.installation_id) == installation_id,
                tuple_(col(HookUsage.hook), col(HookUsage.store_id)).in_(list(hooks)),
            )
        )
        rows = {(row.hook, row.store_id): row for row in known.all()}
        for key, more in hooks.items():
            row = rows.get(key)
            if row is None:
                row = HookUsage(
                    installation_id=installation_id, hook=key[0], store_id=key[1], last_used_at=more.last_used
                )
                self._session.add(row)
            row.runs += more.runs
            row.errors += more.errors
            row.last_used_at = max(row.last_used_at, more.last_used)
            total = histogram_of(row)
            latency.add(total, more.latency)
            row.latency = {str(bucket): count for bucket, count in total.items()}
        await self._session.flush()

    async def usage(self, installation_id: UUID) -> Sequence[HookUsage]:
        """What each hook did in each store, the busiest first."""
        statement = select(HookUsage).where(col(HookUsage.installation_id) == installation_id)
        order = (col(HookUsage.runs).desc(), col(HookUsage.hook), col(HookUsage.store_id))
        return (await self._session.exec(statement.order_by(*order))).all()

    async def keep_recent(self, installation_id: UUID, at: datetime, statistics: Statistics) -> None:
        """Keep what insights told, unless something newer is kept."""
        row = {"installation_id": installation_id, "at": at, "document": msgspec.to_builtins(statistics)}
        statement = insert(RecentStatistics).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["installation_id"],
            set_={"at": at, "document": statement.excluded.document},
            where=col(RecentStatistics.at) < at,
        )
        await self._session.exec(statement)

    async def recent(self, installation_id: UUID) -> Statistics | None:
        """What insights told last."""
        found = await self._session.get(RecentStatistics, installation_id)
        return None if found is None else msgspec.convert(found.document, Statistics)

    async def forget_old_cursors(self) -> None:
        """Drop the cursors of workers that have not reported for 30 days."""
        await self._session.exec(delete(ReportCursor).where(col(ReportCursor.updated_at) < func.now() - CURSORS_KEPT))


def histogram_of(row: HookUsage) -> latency.Histogram:
    """The latency of a hook; JSON has no numbers for keys."""
    return {int(bucket): count for bucket, count in row.latency.items()}
