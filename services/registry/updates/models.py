"""The tables of updates: what is under way, what can be gone back to, and what may happen by itself."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, ForeignKey, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


def _reference() -> Any:
    return Column(ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True, nullable=False)


def _moment() -> Any:
    return Column(DateTime(timezone=True), nullable=False, server_default=func.now())


def _now() -> datetime:
    return datetime.now(UTC)


class PendingUpdate(RegistryModel, table=True):
    """An update that has begun: what the installation is to have once onUpdate has succeeded.

    ``base`` is the configuration that it had when the update began; ``operation_id`` is the same however often it is
    tried, so that onUpdate has its effect once.
    """

    __tablename__ = "pending_update"

    installation_id: UUID = Field(sa_column=_reference())
    operation_id: UUID
    version: str
    grants: list[str] = Field(sa_type=JSONB)
    config: dict[str, Any] = Field(sa_type=JSONB)
    libraries: list[dict[str, Any]] = Field(sa_type=JSONB)
    base: dict[str, Any] = Field(sa_type=JSONB)
    asked_by: dict[str, Any] = Field(sa_type=JSONB)
    """Who is in the audit log for it, as :class:`services.registry.audit.trail.Actor`."""


class PreviousVersion(RegistryModel, table=True):
    """What an installation had before its last update, and goes back to when that is rolled back."""

    __tablename__ = "previous_version"

    installation_id: UUID = Field(sa_column=_reference())
    version: str
    grants: list[str] = Field(sa_type=JSONB)
    config: dict[str, Any] = Field(sa_type=JSONB)
    libraries: list[dict[str, Any]] = Field(sa_type=JSONB)
    replaced_at: datetime = Field(default_factory=_now, sa_column=_moment())
    replaced_by: str


class SkippedVersion(RegistryModel, table=True):
    """A version that does not come to an installation by itself (again); ``reason`` says what became of it there."""

    __tablename__ = "skipped_version"

    installation_id: UUID = Field(sa_column=_reference())
    version: str = Field(primary_key=True)
    reason: str
    at: datetime = Field(default_factory=_now, sa_column=_moment())


class UpdatePolicy(RegistryModel, table=True):
    """Which updates an organization lets happen by themselves; without a row, none."""

    __tablename__ = "update_policy"

    organization_id: str = Field(primary_key=True)
    policy: str
    changed_at: datetime = Field(default_factory=_now, sa_column=_moment())
    changed_by: str
