"""Documents of reviews."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from services.common.auth import Caller, Role
from services.common.wire import Document, Line
from services.registry.reviews.models import Review

Prose = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$"),
]
"""Text of several lines, without other control characters."""


class _Request(Document):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class ReviewRequest(_Request):
    """What an organization has to say."""

    rating: int = Field(ge=1, le=5, strict=True)
    title: Line
    text: Prose


class ReplyRequest(_Request):
    """The publisher's answer; null takes it back."""

    reply: Prose | None


class ReportRequest(_Request):
    """Why a review should not be shown."""

    reason: Prose


class VisibilityRequest(_Request):
    """Whether a review is hidden, and why."""

    hidden: bool = Field(strict=True)
    reason: Prose | None = None


class FeaturedRequest(_Request):
    """Whether a plugin is featured."""

    featured: bool = Field(strict=True)


class ReviewDocument(Document):
    """One review. Who wrote it is shown to reviewers."""

    id: UUID
    plugin_id: str
    rating: int
    title: str
    text: str
    version: str = Field(description="The one that was installed when it was written or last changed.")
    created_at: datetime
    updated_at: datetime
    reply: str | None = Field(description="The publisher's answer.")
    replied_at: datetime | None
    own: bool = Field(description="Whether the caller's organization wrote it.")
    hidden: bool
    hidden_reason: str | None
    organization_id: str | None = None
    reports: int | None = None

    @classmethod
    def of(cls, review: Review, caller: Caller, reports: int = 0) -> Self:
        """The review as the caller may see it."""
        inspects = caller.role is Role.REVIEWER
        names = [name for name in cls.model_fields if name not in ("own", "hidden", "organization_id", "reports")]
        return cls(
            **{name: getattr(review, name) for name in names},
            own=review.organization_id == caller.organization,
            hidden=review.hidden_at is not None,
            organization_id=review.organization_id if inspects else None,
            reports=reports if inspects else None,
        )
