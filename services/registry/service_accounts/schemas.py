"""Documents of service accounts."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel

from services.common.auth import Right
from services.common.wire import Document, Line
from services.registry.service_accounts.models import ServiceAccount


class ServiceAccountRequest(Document):
    """The account to make."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    name: Line
    rights: set[Right] = Field(min_length=1, description="Owners and admins give install and read, publishers publish.")
    expires_at: AwareDatetime = Field(description="Within 366 days.")
    store_id: Line | None = Field(
        default=None, description="Without it, the whole organization (or the token's store)."
    )


class ServiceAccountDocument(Document):
    """One service account; its key is not told."""

    id: UUID
    name: str
    store_id: str | None
    rights: list[Right]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null: never.")


class NewServiceAccount(ServiceAccountDocument):
    """A service account that was just made."""

    key: str = Field(description="Shown now and never again.")

    @classmethod
    def of(cls, account: ServiceAccount, key: str) -> Self:
        members = ServiceAccountDocument.model_validate(account).model_dump()
        return cls(**members, key=key)


class TokenDocument(Document):
    """An access token (RFC 6749, section 5.1, whose names these are)."""

    model_config = ConfigDict(alias_generator=None)

    access_token: str
    token_type: str = "Bearer"  # noqa: S105  the name of a scheme
    expires_in: int = Field(description="Seconds.")
    scope: str
