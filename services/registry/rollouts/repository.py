"""SQL of staged roll-outs."""

from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.installations.lifecycle import Status
from services.registry.installations.repository import Row
from services.registry.models import Installation, PluginVersion
from services.registry.rollouts.models import ONGOING, Rollout, RolloutMember

Member: TypeAlias = tuple[RolloutMember, Installation]


class RolloutRepository:
    """Roll-outs within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, rollout: Rollout, installations: Sequence[UUID]) -> None:
        """Keep a new roll-out over installations, in this order. Raises IntegrityError when one is ongoing."""
        self._session.add(rollout)
        await self._session.flush()
        for position, installation_id in enumerate(installations):
            self._session.add(RolloutMember(rollout_id=rollout.id, installation_id=installation_id, position=position))
        await self._session.flush()

    async def get(self, rollout_id: UUID) -> Rollout | None:
        return await self._session.get(Rollout, rollout_id)

    async def lock(self, rollout_id: UUID) -> Rollout | None:
        """Like :meth:`get`; nobody else changes it until the transaction ends."""
        return await self._session.get(Rollout, rollout_id, with_for_update=True)

    async def of(self, organization: str, limit: int = 100) -> Sequence[Rollout]:
        """The roll-outs of an organization, the newest first."""
        statement = select(Rollout).where(col(Rollout.organization_id) == organization)
        return (await self._session.exec(statement.order_by(col(Rollout.created_at).desc()).limit(limit))).all()

    async def ongoing(self) -> Sequence[UUID]:
        """Those that go on by themselves, in all organizations, the oldest first."""
        statement = select(col(Rollout.id)).where(col(Rollout.state).in_(ONGOING)).order_by(col(Rollout.created_at))
        return (await self._session.exec(statement)).all()

    async def is_ongoing(self, organization: str, plugin_id: str) -> bool:
        """Whether versions of a plugin come to an organization's stores by a roll-out now."""
        own = (col(Rollout.organization_id) == organization, col(Rollout.plugin_id) == plugin_id)
        statement = select(func.count()).select_from(Rollout).where(*own, col(Rollout.state).in_(ONGOING))
        return bool((await self._session.exec(statement)).one())

    async def members(self, rollout_id: UUID) -> Sequence[Member]:
        """The installations that are still there, in their order."""
        statement = (
            select(RolloutMember, Installation)
            .join(Installation, col(Installation.id) == col(RolloutMember.installation_id))
            .where(col(RolloutMember.rollout_id) == rollout_id)
        )
        return (await self._session.exec(statement.order_by(col(RolloutMember.position)))).all()

    async def eligible(self, organization: str, plugin_id: str) -> Sequence[Row]:
        """The installations of a plugin in single stores of an organization."""
        statement = (
            select(Installation, PluginVersion)
            .join(
                PluginVersion,
                (col(PluginVersion.plugin_id) == col(Installation.plugin_id))
                & (col(PluginVersion.version) == col(Installation.version)),
            )
            .where(
                col(Installation.organization_id) == organization,
                col(Installation.plugin_id) == plugin_id,
                col(Installation.store_id).is_not(None),
                col(Installation.installed_at).is_not(None),
                col(Installation.status) != Status.UNINSTALLING,
            )
        )
        return (await self._session.exec(statement)).all()

    async def mark(self, member: RolloutMember, state: str, reason: str | None = None) -> None:
        """Say what became of a member; one that was updated begins to be watched now."""
        own = (
            col(RolloutMember.rollout_id) == member.rollout_id,
            col(RolloutMember.installation_id) == member.installation_id,
            col(RolloutMember.state) == member.state,
        )
        values = {"state": state, "reason": None if reason is None else reason.replace("\0", "")}
        statement = update(RolloutMember).where(*own)
        if state != "updated":
            await self._session.exec(statement.values(values))
            return
        installation = col(Installation.id) == member.installation_id
        runs = select(col(Installation.hook_runs)).where(installation).scalar_subquery()
        errors = select(col(Installation.hook_errors)).where(installation).scalar_subquery()
        await self._session.exec(statement.values(**values, updated_at=func.now(), base_runs=runs, base_errors=errors))
