"""SQL of updates."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Uuid, any_, func, literal
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from services.registry.dependencies.repository import on_offer
from services.registry.installations.lifecycle import Status
from services.registry.models import Installation, Plugin, PluginVersion
from services.registry.rollouts.models import ONGOING, Rollout
from services.registry.updates.models import PendingUpdate, PreviousVersion, SkippedVersion, UpdatePolicy
from services.registry.updates.policies import Policy

Kept = TypeVar("Kept", PendingUpdate, PreviousVersion)


class UpdateRepository:
    """Updates within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def versions(self, plugin_id: str, organization: str) -> Sequence[PluginVersion]:
        """The versions of a plugin that are on offer to an organization, in no order."""
        statement = select(PluginVersion).where(col(PluginVersion.plugin_id) == plugin_id)
        return (await self._session.exec(statement.where(*on_offer(organization)))).all()

    async def add(self, row: PendingUpdate | PreviousVersion) -> None:
        """Keep it in the place of what the installation had."""
        await self._session.merge(row)
        await self._session.flush()

    async def pending(self, installation_id: UUID) -> PendingUpdate | None:
        return await self._session.get(PendingUpdate, installation_id)

    async def previous(self, installation_id: UUID) -> PreviousVersion | None:
        return await self._session.get(PreviousVersion, installation_id)

    async def remove(self, row: PendingUpdate | PreviousVersion) -> None:
        await self._session.delete(row)
        await self._session.flush()

    async def kept(self) -> list[tuple[PendingUpdate | PreviousVersion, Installation, PluginVersion]]:
        """Every configuration that installations had, or are to have, with the version that it is for."""
        return [*await self._with_version(PendingUpdate), *await self._with_version(PreviousVersion)]

    async def _with_version(self, kind: type[Kept]) -> Sequence[tuple[Kept, Installation, PluginVersion]]:
        statement = (
            select(kind, Installation, PluginVersion)
            .join(Installation, col(Installation.id) == col(kind.installation_id))
            .join(
                PluginVersion,
                (col(PluginVersion.plugin_id) == col(Installation.plugin_id))
                & (col(PluginVersion.version) == col(kind.version)),
            )
        )
        return (await self._session.exec(statement)).all()

    async def abandoned(self, lifetime: timedelta) -> Sequence[UUID]:
        """The installations whose update began longer ago than ``lifetime``: whoever ran it is gone."""
        statement = select(col(Installation.id)).where(
            col(Installation.updating), col(Installation.operation_started_at) < func.now() - lifetime
        )
        return (await self._session.exec(statement)).all()

    async def skip(self, installation_id: UUID, version: str, reason: str) -> None:
        """Let a version not come to an installation by itself."""
        row = {"installation_id": installation_id, "version": version, "reason": reason.replace("\0", "")}
        statement = insert(SkippedVersion).values(row)
        known = {"reason": statement.excluded.reason, "at": func.now()}
        await self._session.exec(
            statement.on_conflict_do_update(index_elements=["installation_id", "version"], set_=known)
        )

    async def unskip(self, installation_id: UUID, version: str) -> None:
        own = (col(SkippedVersion.installation_id) == installation_id, col(SkippedVersion.version) == version)
        await self._session.exec(delete(SkippedVersion).where(*own))

    async def skipped(self, *installations: UUID) -> Sequence[SkippedVersion]:
        """The versions that do not come to these by themselves, the latest decision first."""
        own = col(SkippedVersion.installation_id) == any_(literal(list(installations), ARRAY(Uuid())))
        statement = select(SkippedVersion).where(own)
        return (await self._session.exec(statement.order_by(col(SkippedVersion.at).desc()))).all()

    async def policy(self, organization: str) -> Policy:
        """Which updates of an organization happen by themselves: none unless it said so."""
        found = await self._session.get(UpdatePolicy, organization)
        return Policy.MANUAL if found is None else Policy(found.policy)

    async def set_policy(self, organization: str, policy: Policy, subject: str) -> None:
        row = {"organization_id": organization, "policy": policy, "changed_by": subject}
        statement = insert(UpdatePolicy).values(row)
        changes = {"policy": policy, "changed_by": subject, "changed_at": func.now()}
        await self._session.exec(statement.on_conflict_do_update(index_elements=["organization_id"], set_=changes))

    async def behind(self) -> Sequence[tuple[Installation, PluginVersion]]:
        """What may be updated by itself: what is behind, of organizations with a policy, and in no roll-out."""
        policies = select(col(UpdatePolicy.organization_id)).where(col(UpdatePolicy.policy) != Policy.MANUAL)
        by_rollout = (
            select(Rollout)
            .where(
                col(Rollout.organization_id) == col(Installation.organization_id),
                col(Rollout.plugin_id) == col(Installation.plugin_id),
                col(Rollout.state).in_(ONGOING),
            )
            .exists()
        )
        statement = _with_versions().where(col(Installation.organization_id).in_(policies), ~by_rollout)
        ordered = statement.order_by(col(Installation.created_at), col(Installation.id))
        return (await self._session.exec(ordered)).all()

    async def behind_in(self, organization: str, store: str | None) -> Sequence[tuple[Installation, PluginVersion]]:
        """The installations of an organization (in effect in ``store``) that do not have the latest version."""
        statement = _with_versions().where(col(Installation.organization_id) == organization)
        if store is not None:
            statement = statement.where(col(Installation.store_id).is_(None) | (col(Installation.store_id) == store))
        ordered = statement.order_by(col(Installation.created_at), col(Installation.id))
        return (await self._session.exec(ordered)).all()


def _with_versions() -> Select[Installation, PluginVersion]:
    """Installations that are not at their plugin's latest version, with the version that they have."""
    return (
        select(Installation, PluginVersion)
        .join(
            PluginVersion,
            (col(PluginVersion.plugin_id) == col(Installation.plugin_id))
            & (col(PluginVersion.version) == col(Installation.version)),
        )
        .join(Plugin, col(Plugin.id) == col(Installation.plugin_id))
        .where(
            col(Plugin.latest_version).is_distinct_from(col(Installation.version))
            | col(Plugin.latest_public).is_distinct_from(col(Installation.version)),
            col(Installation.installed_at).is_not(None),
            col(Installation.status).in_([Status.ACTIVE, Status.INACTIVE, Status.ERROR]),
            col(Installation.updating).is_(False),
        )
    )
