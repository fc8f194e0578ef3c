"""Documents of submissions."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from services.common.wire import Document
from services.registry.catalogue.levels import Level
from services.registry.catalogue.schemas import key_id_of
from services.registry.models import Plugin, PluginVersion
from services.registry.submissions.models import Submission


class ReviewStatus(StrEnum):
    """What has become of a submission."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


class FindingDocument(Document):
    """What an automatic check has found."""

    code: str
    severity: Literal["error", "warning"]
    path: str
    line: int | None
    message: str


class SubmissionDocument(Document):
    """A version that is to be offered to everyone."""

    plugin_id: str
    version: str
    digest: str
    publisher_organization: str
    key_id: str | None = Field(description="The thumbprint of the key it is signed by.")
    level: Level
    status: ReviewStatus
    findings: list[FindingDocument]
    submitted_at: datetime
    submitted_by: str
    decided_at: datetime | None
    decided_by: str | None
    comment: str | None = Field(description="What the reviewer has to say to the publisher.")

    @classmethod
    def of(cls, submission: Submission, plugin: Plugin, version: PluginVersion) -> Self:
        """The document of a submission."""
        return cls(
            **submission.model_dump(),
            digest=version.digest,
            level=Level(version.level),
            key_id=key_id_of(version),
            publisher_organization=plugin.publisher_organization,
        )


class Decision(Document):
    """What a reviewer decides; a later decision takes the place of an earlier one."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    decision: Literal["approve", "refuse"]
    level: Literal[Level.COMMUNITY, Level.VERIFIED] = Field(
        default=Level.COMMUNITY, description="Of an approval: whether the reviewer vouches for the version."
    )
    comment: Annotated[str, StringConstraints(min_length=1, max_length=4_000, pattern=r"^[^\x00]+$")]
