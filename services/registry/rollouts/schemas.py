"""Documents of staged roll-outs."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from services.common.wire import Document, Line
from services.registry.installations.schemas import Request

State = Literal["running", "completed", "rolling-back", "rolled-back", "cancelled"]
MemberState = Literal["waiting", "updated", "failed", "rolled-back"]


class RolloutRequest(Request):
    """Which version is to come to the stores, and how carefully."""

    plugin_id: Line
    version: Line | None = Field(default=None, description="Without it, the latest release.")
    percents: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[10, 50, 100], min_length=1, max_length=20, description="Of the stores, stage by stage; rising."
    )
    window_seconds: int = Field(
        default=600, ge=0, le=604_800, description="How long each stage is watched after its last update."
    )
    error_rate: float = Field(
        default=0.05, ge=0, le=1, description="Of hooks that may fail, and of stores that may not work."
    )
    minimum_runs: int = Field(
        default=20, ge=0, description="Hooks that have to have run in the new version before it is judged, and goes on."
    )
    new_grants: list[Line] | None = Field(
        default=None, description="What each store grants of what the version asks for the first time."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if sorted(set(self.percents)) != self.percents:
            raise ValueError("percents: each stage has more stores than the one before")
        return self


class MemberDocument(Document):
    """One store of a roll-out."""

    installation_id: UUID
    store_id: str | None
    state: MemberState
    reason: str | None
    updated_at: datetime | None
    runs: int = Field(description="Hooks since its update.")
    errors: int


class RolloutSummary(Document):
    """A version on its way to the stores."""

    id: UUID
    plugin_id: str
    version: str
    state: State
    reason: str | None
    percents: list[int]
    stage: int = Field(description="From 0; the stage that `percents` has at this place.")
    error_rate: float
    minimum_runs: int
    window_seconds: int
    created_at: datetime
    created_by: str


class RolloutDocument(RolloutSummary):
    """A version on its way to the stores, and how far it is."""

    stores: int
    waiting: int
    updated: int
    failed: int
    rolled_back: int
    runs: int = Field(description="Hooks in the new version, in all stores.")
    errors: int
    members: list[MemberDocument]
