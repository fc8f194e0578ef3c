"""The table of publishers' keys."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, DateTime, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


class PublisherKey(RegistryModel, table=True):
    """A public key of an organization that publishes. One that is revoked stays, and signs nothing new."""

    __tablename__ = "publisher_key"

    organization: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    """The JWK thumbprint (RFC 7638)."""
    name: str
    public_key: dict[str, Any] = Field(sa_type=JSONB)
    registered_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC),
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    registered_by: str
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    revoked_by: str | None = None
