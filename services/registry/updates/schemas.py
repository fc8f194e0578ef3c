"""Documents of updates."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from services.common.wire import Document, Line
from services.registry.installations.schemas import Request
from services.registry.updates.policies import Policy


class UpdateState(StrEnum):
    """How an installation stands to the version that it may be updated to.

    ``up-to-date``: there is none. ``updating``: the update runs. ``automatic``: it comes by itself.
    ``awaiting-consent``: it would, but asks for more, so an owner or admin has to agree. ``available``: it comes when
    it is asked for. ``skipped``: it failed here, or was rolled back, and comes only when it is asked for.
    """

    UP_TO_DATE = "up-to-date"
    UPDATING = "updating"
    AUTOMATIC = "automatic"
    AWAITING_CONSENT = "awaiting-consent"
    AVAILABLE = "available"
    SKIPPED = "skipped"


class UpdateRequest(Request):
    """What to update to."""

    version: Line | None = Field(default=None, description="Without it, the latest release.")
    grants: list[Line] | None = Field(
        default=None,
        description="All permissions that it is to have. Without it, those that it has; a version that asks for more "
        "is refused then.",
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description='The whole new configuration; {"set": true} keeps a secret. Without it, the present one goes on.',
    )


class PolicyDocument(Request):
    """Which updates happen by themselves."""

    policy: Policy = Field(
        description="`patch`: 1.2.3 to 1.2.9; `minor`: also to 1.9.0; `all`: to any later release; `manual`: none. One "
        "that asks for more permissions waits for an owner or admin in any case."
    )


class WishDocument(Document):
    """One thing that a plugin asks to be granted: a permission, `host:<name>` or `call:<plugin id>`; and why."""

    name: str
    purpose: str


class ChangeDocument(Document):
    """What is new in one version."""

    version: str
    published_at: datetime
    changelog: str


class WishesChange(Document):
    """What the new version asks for and the present one does not, and the other way round."""

    added: list[WishDocument]
    removed: list[WishDocument]


class SettingsChange(Document):
    """Settings that come, go, or are declared otherwise; and why the present configuration does not fit, if so."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    faults: list[dict[str, str]]


class SkippedDocument(Document):
    """A version that does not come by itself, and why."""

    version: str
    reason: str
    at: datetime


class PreviousDocument(Document):
    """What a rollback goes back to."""

    version: str
    grants: list[str]
    replaced_at: datetime
    replaced_by: str


class UpdateSummary(Document):
    """An installation for which there is another version."""

    installation_id: UUID
    plugin_id: str
    store_id: str | None
    from_version: str
    to_version: str
    state: UpdateState
    needs_consent: list[WishDocument]


class UpdatePlan(Document):
    """What an update would do. ``to_version`` is null when there is nothing to update to."""

    installation_id: UUID
    plugin_id: str
    from_version: str
    to_version: str | None
    state: UpdateState
    changes: list[ChangeDocument] = Field(description="The versions after the present one, the latest first.")
    wishes: WishesChange
    grants: list[str] = Field(description="What it is granted now, and would be without consent to more.")
    needs_consent: list[WishDocument] = Field(description="What it would ask for the first time.")
    settings: SettingsChange
    previous: PreviousDocument | None
    skipped: list[SkippedDocument]


class NeededDocument(Document):
    """A plugin that another one needs, in the version that is installed or would be, and what it asks for."""

    plugin_id: str
    version: str
    installed: bool
    wishes: list[WishDocument]


class InstallPlan(Document):
    """What an installation would do."""

    plugin_id: str
    version: str
    wishes: list[WishDocument] = Field(description="What can be granted, by name.")
    settings_schema: dict[str, Any]
    changelog: str
    needs: list[NeededDocument] = Field(description="In the order in which they would be installed.")
