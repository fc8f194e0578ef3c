"""SQL of bulk operations."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import and_, func, insert, or_, tuple_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.bulk.models import BulkItem, BulkJob

LEASE = timedelta(seconds=30)
OPEN = ("waiting", "running")


class BulkRepository:
    """Jobs and their stores within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, job: BulkJob, stores: Sequence[str]) -> None:
        """Keep a new job over stores, in this order."""
        self._session.add(job)
        await self._session.flush()
        rows = [
            {"job_id": job.id, "store_id": store, "position": position, "state": "waiting", "attempts": 0}
            for position, store in enumerate(stores)
        ]
        await self._session.exec(insert(BulkItem), params=rows)

    async def now(self) -> datetime:
        """The database's clock."""
        return (await self._session.exec(select(func.now()))).one()

    async def get(self, job_id: UUID) -> BulkJob | None:
        return await self._session.get(BulkJob, job_id)

    async def lock(self, job_id: UUID) -> BulkJob | None:
        """Like :meth:`get`; nobody else cancels or retries it until the transaction ends."""
        return await self._session.get(BulkJob, job_id, with_for_update=True)

    async def of(self, organization: str, limit: int, before: tuple[datetime, UUID] | None) -> Sequence[BulkJob]:
        """The jobs of an organization, the newest first."""
        position = (col(BulkJob.created_at), col(BulkJob.id))
        statement = select(BulkJob).where(col(BulkJob.organization_id) == organization)
        if before is not None:
            statement = statement.where(tuple_(*position) < tuple_(*before))
        ordered = statement.order_by(*(each.desc() for each in position)).limit(limit)
        return (await self._session.exec(ordered)).all()

    async def with_config(self) -> Sequence[BulkJob]:
        """Every job that has a configuration to give."""
        return (await self._session.exec(select(BulkJob).where(col(BulkJob.config).is_not(None)))).all()

    async def counts(self, jobs: Collection[UUID]) -> dict[UUID, dict[str, int]]:
        """How many stores of each job are in which state."""
        statement = (
            select(col(BulkItem.job_id), col(BulkItem.state), func.count())
            .where(col(BulkItem.job_id).in_(jobs))
            .group_by(col(BulkItem.job_id), col(BulkItem.state))
        )
        found: dict[UUID, dict[str, int]] = defaultdict(dict)
        for job_id, state, count in (await self._session.exec(statement)).all():
            found[job_id][state] = count
        return found

    async def items(self, job_id: UUID, state: str | None, limit: int, after: int) -> Sequence[BulkItem]:
        """Stores of a job (in one state) behind a position, in their order."""
        statement = select(BulkItem).where(col(BulkItem.job_id) == job_id, col(BulkItem.position) > after)
        if state is not None:
            statement = statement.where(col(BulkItem.state) == state)
        return (await self._session.exec(statement.order_by(col(BulkItem.position)).limit(limit))).all()

    async def take(self) -> BulkItem | None:
        """Lease the next store that is due, or whose lease ran out; no two registries take the same one.

        The first stores of all jobs come before the second ones, so that a large job lets a small one through.
        """
        due = or_(
            and_(col(BulkItem.state) == "waiting", col(BulkItem.due_at) <= func.now()),
            and_(col(BulkItem.state) == "running", col(BulkItem.leased_until) < func.now()),
        )
        statement = select(BulkItem).where(due).order_by(col(BulkItem.position), col(BulkItem.job_id)).limit(1)
        item = (await self._session.exec(statement.with_for_update(skip_locked=True))).one_or_none()
        if item is None:
            return None
        now = await self.now()
        item.state, item.lease, item.leased_until = "running", uuid4(), now + LEASE
        item.attempts += 1
        item.begun_at = item.begun_at or now
        await self._session.flush()
        return item

    async def renew(self, item: BulkItem) -> None:
        """Go on having the lease."""
        await self._change(item, leased_until=func.now() + LEASE)

    async def remember_version(self, item: BulkItem, version: str) -> None:
        """What the store had before anything was done."""
        item.from_version = version
        await self._change(item, from_version=version)

    async def waited(self, item: BulkItem) -> timedelta:
        """How long ago the first attempt began."""
        assert item.begun_at is not None  # noqa: S101  it was taken
        return await self.now() - item.begun_at

    async def end(
        self, item: BulkItem, state: str, code: str | None, detail: str | None, installation_id: UUID | None
    ) -> None:
        """Say what came of a store, unless another registry has taken it."""
        told = None if detail is None else detail.replace("\0", "\N{REPLACEMENT CHARACTER}")
        ended = {"ended_at": func.now(), "lease": None, "leased_until": None}
        await self._change(item, state=state, code=code, detail=told, installation_id=installation_id, **ended)

    async def put_back(self, item: BulkItem, pause: timedelta, *, untouched: bool) -> None:
        """Let the store be tried again after a pause; ``untouched``: it is known that this attempt changed nothing."""
        known = {"from_version": None} if untouched else {}
        await self._change(item, state="waiting", due_at=func.now() + pause, lease=None, leased_until=None, **known)

    async def skip_waiting(self, job_id: UUID) -> int:
        """Leave undone what has not begun; how many stores."""
        own = (col(BulkItem.job_id) == job_id, col(BulkItem.state) == "waiting")
        values = {"state": "skipped", "code": "cancelled", "detail": "The job was cancelled.", "ended_at": func.now()}
        return await self._update(*own, values=values)

    async def again(self, job_id: UUID) -> int:
        """Let the stores that failed wait again; how many."""
        own = (col(BulkItem.job_id) == job_id, col(BulkItem.state) == "failed")
        nothing = dict.fromkeys(("code", "detail", "begun_at", "ended_at", "from_version"))
        return await self._update(*own, values=nothing | {"state": "waiting", "attempts": 0, "due_at": func.now()})

    async def _change(self, item: BulkItem, **values: Any) -> None:
        own = (col(BulkItem.job_id) == item.job_id, col(BulkItem.store_id) == item.store_id)
        await self._update(*own, col(BulkItem.lease) == item.lease, values=values)

    async def _update(self, *own: Any, values: dict[str, Any]) -> int:
        statement = update(BulkItem).where(*own).values(values).execution_options(synchronize_session=False)
        return (await self._session.exec(statement)).rowcount
