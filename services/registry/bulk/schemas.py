"""Documents of bulk operations."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from services.common.runtime_client import StoredData
from services.common.wire import Document, Line, Page
from services.registry.installations.backlog import BacklogChoice, BeginAt
from services.registry.installations.schemas import Request

Action = Literal["install", "activate", "deactivate", "update", "rollback", "configure", "uninstall"]
JobState = Literal["running", "completed", "cancelled"]
ItemState = Literal["waiting", "running", "done", "failed", "skipped"]

_TAKES = {
    "version": ("install", "update", "rollback"),
    "config": ("install", "update", "configure"),
    "grants": ("install", "update"),
}


class BulkSelection(Request):
    """The stores: those that are named, and all of the regions."""

    stores: list[Line] = Field(default_factory=list, max_length=10_000)
    regions: list[Line] = Field(default_factory=list, max_length=200)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.stores and not self.regions:
            raise ValueError("name stores or regions")
        return self


class BulkOptions(Request):
    """How each store's operation is done; as the same operation of a single store takes it."""

    activate: bool = Field(default=False, description="Of `install`: activate it too.")
    with_dependencies: bool = Field(default=False, description="Of `install`: what it needs, too.")
    begin_at: BeginAt = Field(default=BeginAt.WHERE_IT_STOPPED, description="Of an activation.")
    backlog: BacklogChoice = Field(default=BacklogChoice.PAUSE, description="Of `deactivate`.")
    cascade: bool = Field(default=False, description="Of `deactivate` and `uninstall`: what needs it, first.")
    force: bool = Field(default=False, description="Of `uninstall`: even when onUninstall fails.")
    data: StoredData | None = Field(default=None, description="Of `uninstall`: what becomes of what it stored.")


class BulkRequest(Request):
    """What is to be done with a plugin, and in which stores."""

    action: Action
    plugin_id: Line
    version: Line | None = Field(
        default=None,
        description="To install or update to; without it, the latest release. Of `rollback`: the one to leave; stores "
        "that have another are skipped.",
    )
    config: dict[str, Any] | None = Field(default=None, description="The whole configuration, the same in each store.")
    grants: list[Line] | None = Field(default=None, description="As installing and updating take them.")
    selection: BulkSelection
    options: BulkOptions = Field(default_factory=BulkOptions)
    dry_run: bool = Field(default=False, description="Only say what would happen in each store.")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for name, actions in _TAKES.items():
            if getattr(self, name) is not None and self.action not in actions:
                raise ValueError(f"{name}: {self.action} takes none")
        if self.action == "configure" and self.config is None:
            raise ValueError("config: say which configuration the stores are to have")
        return self


class BulkItemDocument(Document):
    """One store of a job."""

    store_id: str
    state: ItemState
    code: str | None = Field(description="Why it failed or was skipped: a stable name for programs.")
    detail: str | None
    installation_id: UUID | None
    attempts: int
    begun_at: datetime | None
    ended_at: datetime | None


class BulkJobDocument(Document):
    """A job, and how far it is."""

    id: UUID
    action: Action
    plugin_id: str
    version: str | None
    state: JobState
    total: int
    waiting: int
    running: int
    done: int
    failed: int
    skipped: int = Field(description="Stores that had it already, or were not begun when it was cancelled.")
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None


class BulkJobDetails(BulkJobDocument):
    """A job, and one page of its stores."""

    stores: Page[BulkItemDocument]


class BulkForecast(Document):
    """What would happen in one store: ``act``, ``skip`` (it has it already) or ``refuse``."""

    store_id: str
    outcome: Literal["act", "skip", "refuse"]
    code: str | None
    detail: str | None
    installation_id: UUID | None
    version: str | None = Field(description="What the store has now.")


class BulkPreview(Document):
    """What a job would do; nothing was kept and nothing changed."""

    dry_run: Literal[True] = True
    action: Action
    plugin_id: str
    version: str | None
    act: int
    skip: int
    refuse: int
    stores: list[BulkForecast]
