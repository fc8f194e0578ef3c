"""The recent log of each installation: a capped stream in Redis, which may be lost without harm."""

from typing import Any

import msgspec

MOST_LINES = 1_000
"""Lines that are kept of an installation, more or less."""
KEPT_SECONDS = 24 * 3600
"""A log that nobody writes to any more is gone after this."""
FIELD = b"line"


class PluginLogLine(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One line. ``at`` is RFC 3339; ``during`` the event type, route, schedule or job; ``stack`` is of a failure."""

    at: str
    level: str
    message: str
    during: str
    store_id: str | None = None
    meta: dict[str, Any] = {}
    code: str | None = None
    stack: str | None = None


def stream_of(installation_id: str) -> str:
    """The name of the stream."""
    return f"outlet:plugin-log:{installation_id}"
