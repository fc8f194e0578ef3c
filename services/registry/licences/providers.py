"""What the registry needs of a payment provider. Card data goes from the customer to the provider, never through us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from outlet.manifest import Price
from services.common.errors import BadGateway, BadRequest


class PaymentFailed(BadGateway):
    """The payment provider refused, or gave no answer."""

    code = "payment_provider_failed"
    remedy = "Try again in a moment; nothing was charged."


class InvalidWebhook(BadRequest):
    """A webhook that the provider did not send, or not so."""

    code = "invalid_webhook"
    remedy = "Check the signing secret of the webhook endpoint."


@dataclass(frozen=True, slots=True)
class Order:
    """What an organization is to pay. URLs are where its browser goes afterwards."""

    checkout_id: UUID
    organization: str
    plugin_id: str
    plugin_name: str
    price: Price
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class Paid:
    """A checkout was paid for; ``reference`` is the payment, or the subscription that it began."""

    checkout_id: str
    reference: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The present state of a subscription: good until then, unless it is over."""

    checkout_id: str
    reference: str
    valid_until: datetime
    over: bool
    cancels: bool


@dataclass(frozen=True, slots=True)
class Refunded:
    """A payment was given back, all of it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Word:
    """What a provider tells. ``change`` None: nothing that concerns licences. ``at`` is the provider's time."""

    id: str
    kind: str
    at: datetime
    change: Paid | Subscribed | Refunded | None


class PaymentProvider(Protocol):
    """Where organizations pay."""

    name: str

    async def begin(self, order: Order) -> str:
        """The URL at which the order is paid. Raises PaymentFailed."""
        ...

    async def cancel(self, reference: str) -> None:
        """Let a subscription end with the period that is paid. Raises PaymentFailed."""
        ...

    def read(self, body: bytes, headers: Mapping[str, str]) -> Word:
        """What a webhook says, once it is certain that the provider sent it. Raises InvalidWebhook."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
