"""The table of versions that are to be offered to everyone."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import Column, DateTime, ForeignKeyConstraint, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


class Submission(RegistryModel, table=True):
    """That a publisher asked for a version to be offered to everyone, and what a reviewer decided last."""

    __tablename__ = "submission"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["plugin_id", "version"], ["plugin_version.plugin_id", "plugin_version.version"]),
        Index("submission_queue", "status", "submitted_at", "plugin_id", "version"),
    )

    plugin_id: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    status: str
    findings: list[dict[str, Any]] = Field(sa_type=JSONB)
    submitted_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC),
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    submitted_by: str
    decided_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    decided_by: str | None = None
    comment: str | None = None
