"""The payloads of calls, opaque to everything between the worker's edge and the plugin's process."""

from typing import Annotated, Any

import msgspec

SAVEPOINT = "$savepoint"
"""The argument of an API call that says within which savepoint it is made; absent outside of any."""

MAX_HEADERS = 100
"""The most headers that a route's response may have."""


class Facts(msgspec.Struct, frozen=True):
    """What a plugin may know of the installation it is called for."""

    organization: str
    store: str | None
    config: dict[str, Any]
    """Without the values of secrets; ``secrets`` has the names of those that have a value."""
    secrets: tuple[str, ...] = ()


class HookCall(msgspec.Struct, array_like=True, frozen=True):
    """An event; ``time`` is RFC 3339, ``data`` is the entity as JSON."""

    id: str
    type: str
    source: str
    time: str
    organization: str
    store: str
    data: bytes


class RouteCall(msgspec.Struct, array_like=True, frozen=True):
    """A request. ``path`` and ``query`` are percent-encoded as they came; ``store`` is the caller's, or None."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    subject: str
    store: str | None
    role: str


class TickCall(msgspec.Struct, array_like=True, frozen=True):
    """A tick of a schedule; ``planned`` is RFC 3339 with the offset of the schedule's time zone."""

    id: str
    schedule: str
    planned: str


class JobCall(msgspec.Struct, array_like=True, frozen=True):
    """A job; ``payload`` is a value as API calls carry it, ``enqueued`` is RFC 3339."""

    id: str
    name: str
    payload: bytes
    attempt: int
    enqueued: str


class UpdateCall(msgspec.Struct, array_like=True, frozen=True):
    """The update of an installation; ``from_version`` is what it had before."""

    from_version: str


class RouteResult(msgspec.Struct, array_like=True, frozen=True):
    """A response. ``undo``: the route raised a Problem, so nothing it did may be kept."""

    status: int
    headers: Annotated[list[tuple[str, str]], msgspec.Meta(max_length=MAX_HEADERS)]
    body: bytes
    undo: bool = False
