"""The JSON documents of ``/api/dead-letters``."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from services.common.auth import Caller
from services.common.dead_letters import Selection
from services.common.wire import Document, Line

MAX_IDS = 1_000
MAX_ID = 2**63 - 1

LetterId = Annotated[int, Field(ge=1, le=MAX_ID)]


class LetterFilter(Document):
    """Letters that meet all of it. An unknown member is refused: it would leave more letters in than were meant."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    plugin_id: Line | None = None
    version: Line | None = None
    installation_id: Line | None = None
    store_id: Line | None = None
    event: Line | None = Field(default=None, description="The event's type, as in sale.created.")
    code: Line | None = Field(default=None, description="The code of the failure, as in plugin_raised.")
    error: Line | None = Field(default=None, description="A part of the failure's message, in upper or lower case.")
    since: AwareDatetime | None = Field(default=None, description="The last attempt failed then or later.")
    until: AwareDatetime | None = Field(default=None, description="The last attempt failed before.")

    def selection(self, caller: Caller) -> Selection:
        """What it means for this caller. Raises Forbidden for another store than the token's."""
        return Selection(
            organization=caller.organization,
            store=caller.choose_store(self.store_id),
            plugin_id=self.plugin_id,
            version=self.version,
            installation_id=self.installation_id,
            event_type=self.event,
            code=self.code,
            message_part=self.error,
            since=self.since,
            until=self.until,
        )


class SelectionRequest(Document):
    """Which letters: by id, or by filter. ``{"filter": {}}`` is all of them; nothing at all is refused."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    ids: Annotated[list[LetterId], Field(min_length=1, max_length=MAX_IDS)] | None = None
    filter: LetterFilter | None = None
    dry_run: bool = Field(default=False, description="Only count.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("say which letters: either ids or filter")
        return self

    def selection(self, caller: Caller) -> Selection:
        if self.filter is not None:
            return self.filter.selection(caller)
        return Selection(organization=caller.organization, store=caller.store, ids=tuple(self.ids or ()))


class LetterSummary(Document):
    """``attempts`` failed, the last at ``failedAt`` with ``code`` and ``message``; ``replayId`` is its last replay.

    ``message`` is empty when the installation is gone.
    """

    id: int
    plugin_id: str
    version: str
    installation_id: str
    store_id: str
    event_type: str
    event_source: str
    event_id: str
    attempts: int
    code: str
    message: str
    failed_at: datetime
    replay_id: str | None


class LetterDetails(LetterSummary):
    """``payload`` is the event's, without personal data that the installation may not see now; null if unreadable.

    ``stack`` is the plugin's traceback, shown to owners and admins.
    """

    event_time: str
    stack: str | None
    payload: Any = None


class ReplayStarted(Document):
    """``replayId`` is null when nothing is replayed. ``gone`` match, but their installation is no more; ``left`` match
    beyond what one request takes: send it again."""

    replay_id: str | None
    total: int
    gone: int
    left: int


class Discarded(Document):
    """``left`` match beyond what one request takes: send it again."""

    total: int
    left: int


class ReplayDocument(Document):
    """What became of a replay's letters. It has ended when none is ``waiting``; ``dead`` have failed again."""

    replay_id: str
    total: int
    waiting: int
    succeeded: int
    dead: int
    discarded: int
