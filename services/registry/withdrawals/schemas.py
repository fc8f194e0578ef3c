"""Documents of versions that were taken back or stopped."""

from datetime import datetime

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from services.common.wire import Document, Line
from services.registry.installations.schemas import Rollout


class Reason(Document):
    """Why; those who have it installed are told."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    reason: Line


class YankDocument(Document):
    """Whether a version is on offer."""

    plugin_id: str
    version: str
    yanked_at: datetime | None = Field(description="Null: it is on offer.")
    yanked_by: str | None
    reason: str | None
    latest_version: str | None = Field(description="What is offered now instead; null: nothing.")


class RevocationDocument(Document):
    """Whether a version is stopped everywhere, and how far that has come."""

    plugin_id: str
    version: str
    revoked_at: datetime | None = Field(description="Null: it is not revoked.")
    revoked_by: str | None
    reason: str | None
    installations: int = Field(description="How many installations have this version now, in all organizations.")
    rollout: Rollout | None = Field(
        description="On how many workers the decision is live; null while it cannot be seen which are alive."
    )
