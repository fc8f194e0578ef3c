"""Documents of publishers' keys."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from services.common.wire import Document, Line


class KeyRequest(Document):
    """A public key to register."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    name: Line = Field(description="What its owners call it.")
    public_key: dict[str, Any] = Field(description="An Ed25519 public key as a JWK (RFC 8037): kty, crv, x.")


class PublisherKeyDocument(Document):
    """A public key of the organization."""

    id: str = Field(description="The JWK thumbprint (RFC 7638).")
    name: str
    public_key: dict[str, str]
    registered_at: datetime
    registered_by: str
    revoked_at: datetime | None = Field(description="Since when it signs nothing new; null: it signs.")
    revoked_by: str | None


class PublisherKeys(Document):
    """All keys of the organization, oldest first."""

    items: list[PublisherKeyDocument]
