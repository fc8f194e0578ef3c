"""The table of service accounts."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Column, DateTime, Index, LargeBinary, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


def _moment(*, required: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=not required)


class ServiceAccount(RegistryModel, table=True):
    """A program of an organization. Of its key, only the hash is kept."""

    __tablename__ = "service_account"
    __table_args__: ClassVar[Any] = (Index("service_account_order", "organization_id", "created_at", "id"),)

    id: UUID = Field(primary_key=True)
    organization_id: str
    store_id: str | None = None
    name: str
    rights: list[str] = Field(sa_type=JSONB)
    key_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    created_by: str
    expires_at: datetime = Field(sa_column=_moment(required=True))
    revoked_at: datetime | None = Field(default=None, sa_column=_moment())
    last_used_at: datetime | None = Field(default=None, sa_column=_moment())
    """To the minute."""
