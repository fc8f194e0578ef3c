"""SQL of reviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.installations.lifecycle import Status
from services.registry.models import Installation, Plugin
from services.registry.reviews.models import Review, ReviewReport

Row = tuple[Review, int]
"""A review, and how many organizations reported it."""
Position = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Which reviews to list. ``seen_by``: hidden ones only if this organization wrote them; None: all of them."""

    plugin_id: str | None = None
    rating: int | None = None
    seen_by: str | None = None
    reported: bool = False
    after: Position | None = None


class ReviewRepository:
    """Reviews within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        moment: datetime = (await self._session.exec(select(func.now()))).one()
        return moment

    async def plugin(self, plugin_id: str) -> Plugin | None:
        return await self._session.get(Plugin, plugin_id)

    async def installed_version(self, plugin_id: str, organization: str) -> str | None:
        """The version that the organization has anywhere; None: it has none."""
        statement = select(col(Installation.version)).where(
            col(Installation.plugin_id) == plugin_id,
            col(Installation.organization_id) == organization,
            col(Installation.installed_at).is_not(None),
            col(Installation.status) != Status.UNINSTALLING,
        )
        return (await self._session.exec(statement.order_by(col(Installation.installed_at).desc()))).first()

    async def of(self, plugin_id: str, organization: str) -> Review | None:
        statement = select(Review).where(
            col(Review.plugin_id) == plugin_id, col(Review.organization_id) == organization
        )
        return (await self._session.exec(statement.with_for_update())).one_or_none()

    async def lock(self, plugin_id: str, review_id: UUID) -> Review | None:
        statement = select(Review).where(col(Review.id) == review_id, col(Review.plugin_id) == plugin_id)
        return (await self._session.exec(statement.with_for_update())).one_or_none()

    async def add(self, review: Review) -> None:
        self._session.add(review)
        await self._session.flush()

    async def remove(self, review: Review) -> None:
        await self._session.delete(review)
        await self._session.flush()

    async def report(self, review_id: UUID, organization: str, reason: str) -> bool:
        """False when the organization reported it before."""
        row = {
            "review_id": review_id,
            "organization_id": organization,
            "reason": reason,
            "reported_at": await self.now(),
        }
        added = await self._session.exec(insert(ReviewReport).values(row).on_conflict_do_nothing())
        return bool(added.rowcount)

    async def find(self, wanted: ReviewFilter, limit: int) -> Sequence[Row]:
        """The last changed first."""
        reports = (
            select(func.count()).where(col(ReviewReport.review_id) == col(Review.id)).correlate(Review)
        ).scalar_subquery()
        statement = select(Review, reports)
        if wanted.plugin_id is not None:
            statement = statement.where(col(Review.plugin_id) == wanted.plugin_id)
        if wanted.rating is not None:
            statement = statement.where(col(Review.rating) == wanted.rating)
        if wanted.seen_by is not None:
            shown = or_(col(Review.hidden_at).is_(None), col(Review.organization_id) == wanted.seen_by)
            statement = statement.where(shown)
        if wanted.reported:
            statement = statement.where(reports > 0, col(Review.hidden_at).is_(None))
        position = (col(Review.updated_at), col(Review.id))
        if wanted.after is not None:
            statement = statement.where(tuple_(*position) < tuple_(*wanted.after))
        ordered = statement.order_by(*(column.desc() for column in position)).limit(limit)
        return (await self._session.exec(ordered)).all()
