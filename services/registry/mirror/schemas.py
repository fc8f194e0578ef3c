"""The document that one registry tells another of a version."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.common.wire import Document
from services.registry.catalogue.levels import Level


class MirroredVersion(Document):
    """A version that is or was offered to everyone, with all that it takes to verify it without trusting who tells."""

    plugin_id: str = Field(max_length=64)
    version: str = Field(max_length=64)
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    publisher_organization: str = Field(max_length=200)
    level: Literal[Level.COMMUNITY, Level.VERIFIED]
    signature: str = Field(description="The publisher's: a compact JWS over {pluginId, version, digest}.")
    public_key: dict[str, str] = Field(description="The publisher's key as a JWK.")
    published_at: datetime
    yank_reason: str | None = Field(max_length=200, description="Null: it is not yanked.")
    revocation_reason: str | None = Field(max_length=200, description="Null: it is not revoked.")
