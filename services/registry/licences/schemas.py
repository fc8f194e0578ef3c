"""Documents of licences."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, HttpUrl
from pydantic.alias_generators import to_camel

from services.common.wire import Document


def _short(url: HttpUrl) -> HttpUrl:
    if len(str(url)) > 1_000:
        raise ValueError("at most 1,000 characters")
    return url


Address = Annotated[HttpUrl, AfterValidator(_short)]


class CheckoutRequest(Document):
    """Where the browser goes after it was paid, or not."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    success_url: Address
    cancel_url: Address


class CheckoutDocument(Document):
    """Where to pay. The licence is there once the provider has told that it was paid."""

    checkout_id: UUID
    url: str


class LicenceDocument(Document):
    """By what an organization uses a plugin."""

    plugin_id: str
    kind: Literal["trial", "one-time", "subscription"]
    good: bool = Field(description="Whether the plugin may be used now.")
    valid_until: datetime | None = Field(description="Null: for ever.")
    ended_at: datetime | None = Field(description="When it was refunded, or the subscription was over.")
    trial_used_at: datetime | None
    cancels: bool = Field(description="Whether the subscription ends with the period that is paid.")


class LicenceList(Document):
    """All of the organization, by plugin id."""

    items: list[LicenceDocument]


class WebhookAnswer(Document):
    """What came of a webhook."""

    outcome: str
