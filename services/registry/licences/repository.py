"""SQL of licences."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, not_, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.licences.models import Checkout, Licence, LicencePause, PaymentEvent
from services.registry.models import Installation, Plugin, PluginVersion

_PRICE = col(PluginVersion.manifest)["price"]["model"].astext
_GOOD = and_(
    col(Licence.ended_at).is_(None), or_(col(Licence.valid_until).is_(None), col(Licence.valid_until) > func.now())
)


def _publishes(organization: Any) -> ColumnElement[bool]:
    """Whether a plugin is the organization's own; who published what is mirrored belongs to another platform."""
    return and_(col(Plugin.publisher_organization) == organization, col(Plugin.mirrored).is_(False))


class LicenceRepository:
    """Licences within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        moment: datetime = (await self._session.exec(select(func.now()))).one()
        return moment

    async def add(self, row: Licence | Checkout | PaymentEvent | LicencePause) -> None:
        self._session.add(row)
        await self._session.flush()

    async def latest(self, plugin_id: str) -> tuple[Plugin, PluginVersion] | None:
        """A plugin, and the version that says what it costs now."""
        statement = select(Plugin, PluginVersion).join(
            PluginVersion,
            and_(
                col(PluginVersion.plugin_id) == col(Plugin.id),
                col(PluginVersion.version) == col(Plugin.latest_public),
            ),
        )
        return (await self._session.exec(statement.where(col(Plugin.id) == plugin_id))).one_or_none()

    async def take_turns(self, name: str) -> None:
        """Wait until no other transaction has taken this turn; nobody else takes it until this one ends."""
        key = func.hashtextextended(name, 0)
        await self._session.exec(select(func.pg_advisory_xact_lock(key)))

    async def of(self, organization: str, plugin_id: str) -> Licence | None:
        statement = select(Licence).where(
            col(Licence.organization_id) == organization, col(Licence.plugin_id) == plugin_id
        )
        return (await self._session.exec(statement.with_for_update())).one_or_none()

    async def by_reference(self, provider: str, reference: str) -> Licence | None:
        statement = select(Licence).where(col(Licence.provider) == provider, col(Licence.reference) == reference)
        return (await self._session.exec(statement)).one_or_none()

    async def all_of(self, organization: str) -> Sequence[Licence]:
        statement = select(Licence).where(col(Licence.organization_id) == organization)
        return (await self._session.exec(statement.order_by(col(Licence.plugin_id)))).all()

    async def is_entitled(self, organization: str, plugin_id: str) -> bool:
        """Whether it has a licence that is good now, or publishes the plugin itself."""
        good = select(col(Licence.id)).where(
            col(Licence.organization_id) == organization, col(Licence.plugin_id) == plugin_id, _GOOD
        )
        own = select(col(Plugin.id)).where(col(Plugin.id) == plugin_id, _publishes(organization))
        return bool((await self._session.exec(select(or_(good.exists(), own.exists())))).one())

    async def checkout(self, checkout_id: UUID, provider: str) -> Checkout | None:
        found = await self._session.get(Checkout, checkout_id)
        return found if found is not None and found.provider == provider else None

    async def claim_event(self, event: PaymentEvent) -> bool:
        """Keep a word of a provider; False when it was dealt with before. Others with the same id wait here."""
        row = event.model_dump()
        added = await self._session.exec(insert(PaymentEvent).values(row).on_conflict_do_nothing())
        return bool(added.rowcount)

    async def conclude_event(self, provider: str, event_id: str, outcome: str) -> None:
        event = await self._session.get_one(PaymentEvent, (provider, event_id))
        event.outcome = outcome

    async def was_refunded(self, provider: str, reference: str) -> bool:
        statement = select(col(PaymentEvent.id)).where(
            col(PaymentEvent.provider) == provider,
            col(PaymentEvent.reference) == reference,
            col(PaymentEvent.outcome) == "refunded",
        )
        return (await self._session.exec(statement.limit(1))).first() is not None

    async def unlicensed(self) -> Sequence[UUID]:
        """Installations that run, or are held by their breaker, of a plugin that costs and has no good licence."""
        statement = (
            select(col(Installation.id))
            .join(
                PluginVersion,
                and_(
                    col(PluginVersion.plugin_id) == col(Installation.plugin_id),
                    col(PluginVersion.version) == col(Installation.version),
                ),
            )
            .join(Plugin, col(Plugin.id) == col(Installation.plugin_id))
            .outerjoin(
                Licence,
                and_(
                    col(Licence.organization_id) == col(Installation.organization_id),
                    col(Licence.plugin_id) == col(Installation.plugin_id),
                    _GOOD,
                ),
            )
            .where(
                or_(
                    col(Installation.status) == "active",
                    and_(col(Installation.status) == "error", col(Installation.breaker)["state"].astext != "closed"),
                ),
                _PRICE != "free",
                not_(_publishes(col(Installation.organization_id))),
                col(Licence.id).is_(None),
            )
        )
        return (await self._session.exec(statement)).all()

    async def resumable(self) -> Sequence[UUID]:
        """Installations that were stopped for want of a licence and have a good one now."""
        statement = (
            select(col(Installation.id))
            .join(LicencePause, col(LicencePause.installation_id) == col(Installation.id))
            .join(
                Licence,
                and_(
                    col(Licence.organization_id) == col(Installation.organization_id),
                    col(Licence.plugin_id) == col(Installation.plugin_id),
                ),
            )
            .where(_GOOD)
        )
        return (await self._session.exec(statement)).all()

    async def forget_pause(self, installation_id: UUID) -> None:
        statement = delete(LicencePause).where(col(LicencePause.installation_id) == installation_id)
        await self._session.exec(statement)
