"""The tables of reviews."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Index, UniqueConstraint
from sqlmodel import Field

from services.registry.models import RegistryModel


def _moment(*, required: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=not required)


class Review(RegistryModel, table=True):
    """What an organization says of a plugin that it has installed."""

    __tablename__ = "review"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("plugin_id", "organization_id", name="review_once"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="review_rating"),
        Index("review_newest", "plugin_id", "updated_at", "id"),
    )

    id: UUID = Field(primary_key=True)
    plugin_id: str = Field(sa_column=Column(ForeignKey("plugin.id", ondelete="CASCADE"), nullable=False))
    organization_id: str
    author: str
    rating: int
    title: str
    text: str
    version: str
    """The one that was installed when it was written or last changed."""
    created_at: datetime = Field(sa_column=_moment(required=True))
    updated_at: datetime = Field(sa_column=_moment(required=True))
    reply: str | None = None
    replied_at: datetime | None = Field(default=None, sa_column=_moment())
    hidden_at: datetime | None = Field(default=None, sa_column=_moment())
    hidden_reason: str | None = None


class ReviewReport(RegistryModel, table=True):
    """An organization's word that a review should not be shown."""

    __tablename__ = "review_report"

    review_id: UUID = Field(sa_column=Column(ForeignKey("review.id", ondelete="CASCADE"), primary_key=True))
    organization_id: str = Field(primary_key=True)
    reason: str
    reported_at: datetime = Field(sa_column=_moment(required=True))
