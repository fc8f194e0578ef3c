"""What a payment provider tells, applied to licences: whatever order it comes in, and each word once."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.audit.trail import Actor, record
from services.registry.licences.models import Checkout, Licence
from services.registry.licences.providers import Paid, Refunded, Subscribed, Word
from services.registry.licences.repository import LicenceRepository

log = structlog.get_logger(__name__)


class Applying:
    """Within the transaction that claimed the word."""

    def __init__(self, session: AsyncSession, provider: str) -> None:
        self._session = session
        self._licences = LicenceRepository(session)
        self._provider = provider

    async def apply(self, word: Word) -> str:
        """What came of it, in a word for the table of events."""
        if word.change is not None:  # a payment and its refund may be told of at the same moment
            await self._licences.take_turns(f"payment {self._provider} {word.change.reference}")
        match word.change:
            case Paid() as paid:
                return await self._paid(paid, word.at)
            case Subscribed() as subscribed:
                return await self._subscribed(subscribed, word.at)
            case Refunded(reference):
                return await self._refunded(reference, word.at)
        return "ignored"

    async def _paid(self, paid: Paid, at: datetime) -> str:
        checkout = await self._checkout(paid.checkout_id)
        if checkout is None:
            return "unknown"
        if (paid.amount, paid.currency) != (checkout.amount, checkout.currency):
            log.error("a payment is not what was asked for", checkout=str(checkout.id), amount=paid.amount)
            return "wrong_amount"
        if checkout.model == "subscription":
            return "noted"  # until when it is good is told of the subscription itself
        licence, before = await self._licence(checkout)
        licence.kind, licence.valid_until, licence.cancels = "one-time", None, False
        licence.provider, licence.reference, licence.told_at = self._provider, paid.reference, at
        # A refund may have been told of before the payment was.
        refunded = await self._licences.was_refunded(self._provider, paid.reference)
        licence.ended_at = at if refunded else None
        await self._record("licence.pay", licence, before)
        return "applied"

    async def _subscribed(self, change: Subscribed, at: datetime) -> str:
        checkout = await self._checkout(change.checkout_id)
        if checkout is None or checkout.model != "subscription":
            return "unknown"
        await self._licences.take_turns(f"licence {checkout.plugin_id}")
        known = await self._licences.of(checkout.organization_id, checkout.plugin_id)
        same = known is not None and (known.provider, known.reference) == (self._provider, change.reference)
        if same and known is not None and _comes_late(known, at, change):
            return "late"
        if not same and change.over:
            return "late"  # of a former subscription, or of one that never began: it takes nothing away
        licence, before = await self._licence(checkout)
        licence.kind, licence.valid_until, licence.cancels = "subscription", change.valid_until, change.cancels
        licence.provider, licence.reference, licence.told_at = self._provider, change.reference, at
        licence.ended_at = at if change.over else None
        await self._record("licence.end" if change.over else "licence.renew", licence, before)
        return "applied"

    async def _refunded(self, reference: str, at: datetime) -> str:
        licence = await self._licences.by_reference(self._provider, reference)
        if licence is None:
            return "refunded"  # remembered for a payment that is told of later
        await self._licences.take_turns(f"licence {licence.plugin_id}")
        before = told(licence)
        licence.ended_at = licence.ended_at or at
        await self._record("licence.refund", licence, before)
        return "refunded"

    async def _checkout(self, text: str) -> Checkout | None:
        try:
            return await self._licences.checkout(UUID(text), self._provider)
        except ValueError:
            return None

    async def _licence(self, checkout: Checkout) -> tuple[Licence, dict[str, Any]]:
        """The licence of the organization that checked out, made if it has none, and what it was."""
        await self._licences.take_turns(f"licence {checkout.plugin_id}")
        licence = await self._licences.of(checkout.organization_id, checkout.plugin_id)
        if licence is not None:
            return licence, told(licence)
        licence = Licence(
            id=uuid4(), organization_id=checkout.organization_id, plugin_id=checkout.plugin_id, kind=checkout.model
        )
        self._session.add(licence)
        return licence, {}

    async def _record(self, action: str, licence: Licence, before: dict[str, Any]) -> None:
        await self._session.flush()
        by = Actor(f"urn:outlet:payments:{self._provider}", "platform")
        about = {"pluginId": licence.plugin_id, "reference": licence.reference}
        await record(self._session, licence.organization_id, by, action, about, before=before, after=told(licence))


def _comes_late(licence: Licence, at: datetime, change: Subscribed) -> bool:
    """What is over stays over; and of two words of one second, the one that ends it counts."""
    if licence.told_at is None:
        return False
    ended = licence.ended_at is not None
    return at < licence.told_at or (ended and at == licence.told_at and not change.over)


def told(licence: Licence) -> dict[str, Any]:
    """What the audit log says of a licence."""
    moments = {"validUntil": licence.valid_until, "endedAt": licence.ended_at}
    shown = {name: None if moment is None else moment.isoformat() for name, moment in moments.items()}
    return {"kind": licence.kind, "cancels": licence.cancels, **shown}
