"""The tables of licences and of what was told of payments."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Column, DateTime, ForeignKey, Index, UniqueConstraint
from sqlmodel import Field

from services.registry.models import RegistryModel


def _moment(*, required: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=not required)


class Licence(RegistryModel, table=True):
    """What an organization may use a plugin by: a trial, once, and then a payment or a subscription.

    It is good while it is ``paid`` or on trial, and ``valid_until`` (None: for ever) lies ahead.
    """

    __tablename__ = "licence"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("organization_id", "plugin_id", name="licence_once"),
        Index("licence_reference", "provider", "reference"),
    )

    id: UUID = Field(primary_key=True)
    organization_id: str
    plugin_id: str = Field(sa_column=Column(ForeignKey("plugin.id", ondelete="CASCADE"), nullable=False))
    kind: str
    """trial, one-time or subscription."""
    valid_until: datetime | None = Field(default=None, sa_column=_moment())
    ended_at: datetime | None = Field(default=None, sa_column=_moment())
    """Refunded, or the subscription is over; None while neither."""
    trial_used_at: datetime | None = Field(default=None, sa_column=_moment())
    provider: str | None = None
    reference: str | None = None
    """The provider's id of the payment or subscription."""
    told_at: datetime | None = Field(default=None, sa_column=_moment())
    """The provider's time of the newest word on it that was applied: older ones come too late."""
    cancels: bool = False
    """A subscription that will not be renewed."""


class Checkout(RegistryModel, table=True):
    """What an organization was about to pay: a payment is for this, at this price, or for nothing."""

    __tablename__ = "checkout"

    id: UUID = Field(primary_key=True)
    organization_id: str
    plugin_id: str = Field(sa_column=Column(ForeignKey("plugin.id", ondelete="CASCADE"), nullable=False))
    provider: str
    model: str
    amount: int
    currency: str
    created_at: datetime = Field(sa_column=_moment(required=True))


class PaymentEvent(RegistryModel, table=True):
    """A word of a payment provider that was dealt with: it counts once, however often it is sent."""

    __tablename__ = "payment_event"
    __table_args__: ClassVar[Any] = (Index("payment_event_reference", "provider", "reference"),)

    provider: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    kind: str
    reference: str | None = None
    outcome: str
    received_at: datetime = Field(sa_column=_moment(required=True))


class LicencePause(RegistryModel, table=True):
    """An installation that was stopped because its licence was over; it starts again when there is one."""

    __tablename__ = "licence_pause"

    installation_id: UUID = Field(sa_column=Column(ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True))
    paused_at: datetime = Field(sa_column=_moment(required=True))
