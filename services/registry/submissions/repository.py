"""SQL of submissions."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.models import Plugin, PluginVersion
from services.registry.submissions.models import Submission

Row = tuple[Submission, Plugin, PluginVersion]


class SubmissionRepository:
    """Submissions within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, plugin_id: str, version: str) -> Submission | None:
        return await self._session.get(Submission, (plugin_id, version))

    async def now(self) -> datetime:
        return (await self._session.exec(select(func.now()))).one()

    def add(self, submission: Submission) -> None:
        self._session.add(submission)

    async def find(
        self, status: str | None, publisher: str | None, after: tuple[datetime, str, str] | None, limit: int
    ) -> Sequence[Row]:
        """Those with a status, of a publisher's organization (None: of all), the longest waiting first."""
        statement = (
            select(Submission, Plugin, PluginVersion)
            .join(Plugin, col(Plugin.id) == col(Submission.plugin_id))
            .join(
                PluginVersion,
                and_(
                    col(PluginVersion.plugin_id) == col(Submission.plugin_id),
                    col(PluginVersion.version) == col(Submission.version),
                ),
            )
        )
        position = (col(Submission.submitted_at), col(Submission.plugin_id), col(Submission.version))
        if status is not None:
            statement = statement.where(col(Submission.status) == status)
        if publisher is not None:
            statement = statement.where(col(Plugin.publisher_organization) == publisher)
        if after is not None:
            statement = statement.where(tuple_(*position) > tuple_(*after))
        return (await self._session.exec(statement.order_by(*position).limit(limit))).all()
