"""Payments by Stripe: Checkout sessions, and webhooks verified by its own library."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import stripe
import structlog

from services.registry.licences.providers import (
    InvalidWebhook,
    Order,
    Paid,
    PaymentFailed,
    Refunded,
    Subscribed,
    Word,
)

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 20.0
RETRIES = 2
OVER = frozenset({"canceled", "unpaid", "incomplete", "incomplete_expired", "paused"})
"""States of a subscription in which nothing may be used; ``past_due`` is tried again by Stripe, and still good."""
PAID = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})
CHANGED = frozenset({"customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted"})


class StripePayments:
    """``api_base`` is for tests; ``webhook_secret`` is that of the endpoint in Stripe's dashboard."""

    name = "stripe"

    def __init__(self, api_key: str, webhook_secret: str, *, api_base: str | None = None) -> None:
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
        addresses: stripe._base_address.BaseAddresses = {} if api_base is None else {"api": api_base}
        self._client = stripe.StripeClient(
            api_key, http_client=self._http, max_network_retries=RETRIES, base_addresses=addresses
        )
        self._webhook_secret = webhook_secret

    async def begin(self, order: Order) -> str:
        """Make a Checkout session; the same order again makes the same one."""
        price = order.price
        subscription = price.model == "subscription"
        metadata = {"checkoutId": str(order.checkout_id), "pluginId": order.plugin_id}
        unit: dict[str, Any] = {
            "currency": (price.currency or "").lower(),
            "unit_amount": price.amount,
            "product_data": {"name": order.plugin_name},
            **({"recurring": {"interval": price.period}} if subscription else {}),
        }
        params: dict[str, Any] = {
            "mode": "subscription" if subscription else "payment",
            "line_items": [{"quantity": 1, "price_data": unit}],
            "client_reference_id": str(order.checkout_id),
            "metadata": metadata,
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            **({"subscription_data": {"metadata": metadata}} if subscription else {}),
        }
        try:
            session = await self._client.v1.checkout.sessions.create_async(
                params,  # type: ignore[arg-type]  # put together above
                {"idempotency_key": f"outlet-{order.checkout_id}"},
            )
        except stripe.StripeError as error:
            raise _failed(error) from error
        if session.url is None:
            raise PaymentFailed("Stripe gave no address at which to pay.")
        return session.url

    async def cancel(self, reference: str) -> None:
        try:
            await self._client.v1.subscriptions.update_async(reference, {"cancel_at_period_end": True})
        except stripe.StripeError as error:
            raise _failed(error) from error

    def read(self, body: bytes, headers: Mapping[str, str]) -> Word:
        """Signed by Stripe at most five minutes ago, or refused."""
        try:
            event = self._client.construct_event(body, headers.get("stripe-signature"), self._webhook_secret)
            told = event.to_dict()
            at = datetime.fromtimestamp(told["created"], UTC)
            return Word(told["id"], told["type"], at, _change(told["type"], told["data"]["object"]))
        except (stripe.SignatureVerificationError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("a webhook is refused", provider=self.name, error=type(error).__name__)
            raise InvalidWebhook("The webhook is none that Stripe signed for this endpoint just now.") from None

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the library does not say


def _change(kind: str, told: dict[str, Any]) -> Paid | Subscribed | Refunded | None:
    if kind in PAID and told["payment_status"] == "paid":
        reference = told["subscription"] if told["mode"] == "subscription" else told["payment_intent"]
        checkout_id = told["client_reference_id"] or ""
        return Paid(checkout_id, reference, told["amount_total"], told["currency"].upper())
    if kind in CHANGED:
        return Subscribed(
            checkout_id=(told.get("metadata") or {}).get("checkoutId", ""),
            reference=told["id"],
            valid_until=datetime.fromtimestamp(_period_end(told), UTC),
            over=kind.endswith(".deleted") or told["status"] in OVER,
            cancels=bool(told.get("cancel_at_period_end")),
        )
    if kind == "charge.refunded" and told["refunded"] and told.get("payment_intent"):
        return Refunded(told["payment_intent"])
    return None


def _period_end(subscription: dict[str, Any]) -> int:
    """Of its one item, where versions of the API since 2025 have it, or of the subscription itself before."""
    item = subscription["items"]["data"][0]
    return int(item["current_period_end"] if "current_period_end" in item else subscription["current_period_end"])


def _failed(error: stripe.StripeError) -> PaymentFailed:
    log.warning("stripe refused", error=type(error).__name__, code=error.code, status=error.http_status)
    return PaymentFailed("The payment provider did not take the order.")
