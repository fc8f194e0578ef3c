"""Payments that nobody makes, for development. A registry in production does not start with it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from services.registry.licences.providers import InvalidWebhook, Order, Paid, Refunded, Subscribed, Word


class _Told(msgspec.Struct, rename="camel", kw_only=True):
    """The body of a webhook, which a developer writes."""

    id: str
    at: datetime
    kind: Literal["paid", "subscribed", "refunded"]
    reference: str
    checkout_id: str = ""
    amount: int = 0
    currency: str = ""
    valid_until: datetime | None = None
    over: bool = False
    cancels: bool = False


class DevelopmentPayments:
    """Believes every webhook as it comes: whoever develops says what was paid."""

    name = "development"

    async def begin(self, order: Order) -> str:
        """Where nothing is to be paid: the URL after success, with the checkout's id to tell the webhook."""
        return f"{order.success_url}#checkout={order.checkout_id}"

    async def cancel(self, reference: str) -> None:
        """Nobody is to be told."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> Word:
        """As it comes."""
        try:
            told = msgspec.json.decode(body, type=_Told)
        except msgspec.DecodeError as error:
            raise InvalidWebhook(f"The webhook cannot be read: {error}") from None
        if told.at.tzinfo is None or (told.valid_until is not None and told.valid_until.tzinfo is None):
            raise InvalidWebhook("Times have an offset.")
        return Word(told.id, told.kind, told.at, _change(told))

    async def close(self) -> None:
        """Nothing is open."""


def _change(told: _Told) -> Paid | Subscribed | Refunded:
    match told.kind:
        case "paid":
            return Paid(told.checkout_id, told.reference, told.amount, told.currency)
        case "refunded":
            return Refunded(told.reference)
        case "subscribed":
            if told.valid_until is None:
                raise InvalidWebhook("A subscription has validUntil.")
            return Subscribed(told.checkout_id, told.reference, told.valid_until, told.over, told.cancels)
