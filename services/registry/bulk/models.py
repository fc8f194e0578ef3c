"""The tables of bulk operations."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


def _moment(*, required: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=not required, server_default=func.now() if required else None)


def _now() -> datetime:
    return datetime.now(UTC)


class BulkJob(RegistryModel, table=True):
    """One thing that is to be done in many stores of an organization.

    ``version`` was chosen when it was asked for, so that all stores get the same. ``config`` is sealed as a whole, for
    it may have secrets. ``asked_by`` is the caller who asked for it, or last had it tried again: each
    store's operation is done in this one's name.
    """

    __tablename__ = "bulk_job"
    __table_args__: ClassVar[Any] = (Index("bulk_job_organization", "organization_id", "created_at", "id"),)

    id: UUID = Field(primary_key=True)
    organization_id: str
    plugin_id: str
    action: str
    version: str | None = None
    config: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=True))
    grants: list[str] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=True))
    options: dict[str, Any] = Field(sa_type=JSONB)
    created_by: str
    asked_by: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))
    cancelled_at: datetime | None = Field(default=None, sa_column=_moment())


class BulkItem(RegistryModel, table=True):
    """One store of a job. While it is ``running``, whoever has the ``lease`` is at it, until ``leased_until``.

    ``from_version`` is what the store had before the first attempt: after a registry that died it tells whether a
    rollback was done.
    """

    __tablename__ = "bulk_item"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed', 'skipped')", name="bulk_item_state_known"
        ),
        Index("bulk_item_open", "position", "job_id", postgresql_where=text("state IN ('waiting', 'running')")),
    )  # fmt: skip

    job_id: UUID = Field(
        sa_column=Column(ForeignKey("bulk_job.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    store_id: str = Field(primary_key=True)
    position: int
    state: str = "waiting"
    code: str | None = None
    detail: str | None = None
    installation_id: UUID | None = None
    from_version: str | None = None
    attempts: int = 0
    due_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))
    lease: UUID | None = None
    leased_until: datetime | None = Field(default=None, sa_column=_moment())
    begun_at: datetime | None = Field(default=None, sa_column=_moment())
    ended_at: datetime | None = Field(default=None, sa_column=_moment())
