"""Licences: trials, checkouts, and what payment providers tell."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import structlog

from outlet.manifest import Manifest
from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden, NotFound, Unavailable
from services.registry.audit.trail import record
from services.registry.catalogue.schemas import read_manifest
from services.registry.database import Transaction
from services.registry.licences.applying import Applying, told
from services.registry.licences.models import Checkout, Licence, PaymentEvent
from services.registry.licences.providers import Order, PaymentProvider
from services.registry.licences.repository import LicenceRepository
from services.registry.licences.schemas import CheckoutDocument, CheckoutRequest, LicenceDocument

log = structlog.get_logger(__name__)


class LicenceService:
    """Licences of organizations. ``provider`` None: nothing can be bought here. ``changed`` is called after changes."""

    def __init__(self, transaction: Transaction, provider: PaymentProvider | None, changed: Callable[[], None]) -> None:
        self._transaction = transaction
        self._provider = provider
        self._changed = changed

    async def find(self, caller: Caller) -> list[LicenceDocument]:
        """All licences of the caller's organization."""
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            now = await licences.now()
            return [document(licence, now) for licence in await licences.all_of(caller.organization)]

    async def begin_trial(self, caller: Caller, plugin_id: str) -> LicenceDocument:
        """Use the plugin before it is paid for, once per organization and plugin. Raises Conflict."""
        _check_whole(caller)
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            manifest = await _costing(licences, caller, plugin_id)
            if not manifest.price.trial_days:
                raise Conflict("The plugin has no trial.", code="no_trial", remedy="Buy it.")
            await licences.take_turns(f"licence {plugin_id}")
            now = await licences.now()
            if await licences.of(caller.organization, plugin_id) is not None:
                raise Conflict(
                    "The organization has had a trial or a licence of this plugin.", code="trial_used", remedy="Buy it."
                )
            licence = Licence(
                id=uuid4(),
                organization_id=caller.organization,
                plugin_id=plugin_id,
                kind="trial",
                trial_used_at=now,
                valid_until=now + timedelta(days=manifest.price.trial_days),
            )
            await licences.add(licence)
            about, after = {"pluginId": plugin_id}, told(licence)
            await record(session, caller.organization, caller, "licence.trial", about, after=after)
        self._changed()
        return document(licence, now)

    async def check_out(self, caller: Caller, plugin_id: str, wanted: CheckoutRequest) -> CheckoutDocument:
        """Where the plugin is paid for, at its present price. Raises Conflict, PaymentFailed, Unavailable."""
        _check_whole(caller)
        provider = self._needs_provider()
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            manifest = await _costing(licences, caller, plugin_id)
            now, licence = await licences.now(), await licences.of(caller.organization, plugin_id)
            if licence is not None and licence.kind != "trial" and is_good(licence, now) and not licence.cancels:
                raise Conflict("The organization has a licence.", code="already_licensed", remedy="Nothing is due.")
            price = manifest.price
            checkout = Checkout(
                id=uuid4(),
                organization_id=caller.organization,
                plugin_id=plugin_id,
                provider=provider.name,
                model=price.model,
                amount=price.amount,
                currency=price.currency or "",
                created_at=now,
            )
            await licences.add(checkout)
            about = {"pluginId": plugin_id, "checkoutId": str(checkout.id)}
            after = {"amount": price.amount, "currency": price.currency}
            await record(session, caller.organization, caller, "licence.checkout", about, after=after, outcome="begun")
        url = await provider.begin(
            Order(
                checkout_id=checkout.id,
                organization=caller.organization,
                plugin_id=plugin_id,
                plugin_name=manifest.name,
                price=price,
                success_url=str(wanted.success_url),
                cancel_url=str(wanted.cancel_url),
            )
        )
        return CheckoutDocument(checkout_id=checkout.id, url=url)

    async def cancel(self, caller: Caller, plugin_id: str) -> LicenceDocument:
        """Let the subscription end with the period that is paid. Raises NotFound, PaymentFailed."""
        _check_whole(caller)
        provider = self._needs_provider()
        async with self._transaction() as session:
            licence = await LicenceRepository(session).of(caller.organization, plugin_id)
        if licence is None or licence.kind != "subscription" or licence.provider != provider.name:
            raise NotFound("The organization has no subscription of this plugin.", code="subscription_not_found")
        await provider.cancel(licence.reference or "")
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            now, licence = await licences.now(), await licences.of(caller.organization, plugin_id)
            if licence is None:
                raise NotFound("The organization has no subscription of this plugin.", code="subscription_not_found")
            before, licence.cancels = licence.cancels, True
            await record(
                session, caller.organization, caller, "licence.cancel", {"pluginId": plugin_id},
                before={"cancels": before}, after={"cancels": True},
            )  # fmt: skip
        return document(licence, now)

    async def take_webhook(self, provider_name: str, body: bytes, headers: Mapping[str, str]) -> str:
        """Apply what a provider tells, once; what came of it. Raises NotFound, InvalidWebhook."""
        provider = self._provider
        if provider is None or provider.name != provider_name:
            raise NotFound("There is no such payment provider here.", code="payment_provider_not_found")
        word = provider.read(body, headers)
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            event = PaymentEvent(
                provider=provider.name,
                id=word.id,
                kind=word.kind,
                reference=None if word.change is None else word.change.reference,
                outcome="ignored",
                received_at=await licences.now(),
            )
            if not await licences.claim_event(event):
                return "repeated"
            outcome = await Applying(session, provider.name).apply(word)
            await licences.conclude_event(provider.name, word.id, outcome)
        log.info("payment webhook taken", provider=provider.name, word=word.id, kind=word.kind, outcome=outcome)
        self._changed()
        return outcome

    def _needs_provider(self) -> PaymentProvider:
        if self._provider is None:
            raise Unavailable(
                "This platform has no payment provider.",
                code="no_payment_provider",
                remedy="Ask the operator to set OUTLET_PAYMENT_PROVIDER.",
            )
        return self._provider


def is_good(licence: Licence, now: datetime) -> bool:
    """Whether a plugin may be used by it."""
    return licence.ended_at is None and (licence.valid_until is None or licence.valid_until > now)


def document(licence: Licence, now: datetime) -> LicenceDocument:
    """The document of a licence."""
    names = [name for name in LicenceDocument.model_fields if name != "good"]
    return LicenceDocument(**{name: getattr(licence, name) for name in names}, good=is_good(licence, now))


async def _costing(licences: LicenceRepository, caller: Caller, plugin_id: str) -> Manifest:
    found = await licences.latest(plugin_id)
    if found is None:
        raise NotFound(f"The catalogue has no plugin {plugin_id!r}.", code="plugin_not_found")
    plugin, version = found
    manifest = read_manifest(version)
    if manifest.price.model == "free" or (plugin.publisher_organization == caller.organization and not plugin.mirrored):
        raise Conflict("The plugin costs the organization nothing.", code="nothing_to_pay", remedy="Activate it.")
    return manifest


def _check_whole(caller: Caller) -> None:
    if caller.store is not None:
        raise Forbidden(
            f"This token is bound to store {caller.store!r}; licences are the whole organization's.", code="wrong_store"
        )
