"""Dead letters: events that a plugin failed for good, as the gateway asks for them and a worker answers."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant: those of an organization that meet all the rest. None asks for nothing.

    ``organization`` and the store of a token that is bound to one come from the verified token, never from the client's
    own words. ``message_part`` is compared without regard to case; the last attempt failed at ``since`` or later, and
    before ``until``.
    """

    organization: str
    store: str | None = None
    plugin_id: str | None = None
    version: str | None = None
    installation_id: str | None = None
    event_type: str | None = None
    code: str | None = None
    message_part: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that one installation's hook failed for good, and how its last attempt failed."""

    id: int
    installation_id: str
    plugin_id: str
    version: str
    store_id: str
    event_type: str
    event_source: str
    event_id: str
    attempts: int
    code: str
    message: str
    failed_at: datetime
    replay_id: str | None
    """The replay that it came back from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLetter:
    """A dead letter with what it holds. ``payload`` is JSON without personal data that the installation may not see."""

    letter: DeadLetter
    payload: bytes
    stack: str
    event_time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How many letters were replayed or discarded, or would be; ``left`` match beyond what one request takes.

    ``gone`` cannot be replayed: their installation is no more.
    """

    total: int
    left: int
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """What became of the letters of a replay; it has ended when none is ``waiting``."""

    total: int
    waiting: int
    succeeded: int
    dead: int
    discarded: int
