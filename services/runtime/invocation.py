"""One call into a plugin, as the host knows it: who, what, on whose behalf, caused by what."""

from dataclasses import dataclass
from typing import Literal

from opentelemetry.trace import SpanContext

from services.common.directory import Installation
from services.common.events import ORGANIZATION_WIDE
from services.runtime.delivery.unit_of_work import InboxKey
from services.runtime.isolation import Scope

Kind = Literal["hook", "route", "lifecycle", "schedule", "job"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """``source`` and ``id`` name the cause: an event, a request or an operation; with the target they make it unique.

    ``target`` is the event type, ``METHOD /path``, the lifecycle hook, or the name of a schedule or job; ``payload`` is
    opaque to the host; ``deadline`` is seconds of wall time for one attempt. ``callers`` are the plugins that wait for
    this call, the outermost first. ``discards_backlog``: once it has succeeded, events that wait for the installation
    are not run any more. ``former_digest`` is of the package that an update leaves. ``trace`` is what its API calls are
    spans of; a guest never learns of it.
    """

    installation: Installation
    kind: Kind
    target: str
    source: str
    id: str
    store: str | None
    payload: bytes
    deadline: float
    callers: tuple[str, ...] = ()
    discards_backlog: bool = False
    former_digest: str = ""
    trace: SpanContext | None = None

    @property
    def time_limit(self) -> float:
        """Seconds of wall time for one attempt: ``deadline``, or less when the manifest asks for less."""
        limits = self.installation.manifest.limits
        own = {"hook": limits.hook_seconds, "route": limits.route_seconds}.get(self.kind)
        return self.deadline if own is None else min(own, self.deadline)

    @property
    def key(self) -> InboxKey:
        return InboxKey(self.installation.id, self.target, self.source, self.id)

    @property
    def scope(self) -> Scope:
        """Whose data this call may touch: its installation's, which is to say its organization's or one store's."""
        found = self.installation
        return Scope(found.organization_id, found.store_id or ORGANIZATION_WIDE, found.id)


def source_of(installation: Installation) -> str:
    """The source (CloudEvents) of the events that an installation causes."""
    return f"urn:outlet:installation:{installation.id}"
