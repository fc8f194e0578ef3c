"""One call into a plugin, as the host knows it: who, what, on whose behalf, caused by what."""

from dataclasses import dataclass
from typing import Literal

from services.common.directory import Installation
from services.runtime.delivery.unit_of_work import InboxKey

Kind = Literal["hook", "route", "lifecycle"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """``source`` and ``id`` name the cause: an event, a request or an operation; with the target they make it unique.

    ``target`` is the event type, ``METHOD /path`` or the lifecycle hook; ``payload`` is opaque to the host;
    ``deadline`` is seconds of wall time for one attempt.
    """

    installation: Installation
    kind: Kind
    target: str
    source: str
    id: str
    store: str | None
    payload: bytes
    deadline: float

    @property
    def key(self) -> InboxKey:
        return InboxKey(self.installation.id, self.target, self.source, self.id)
