"""What becomes of the events of an installation that is deactivated, and when it is activated again."""

from collections.abc import Mapping
from enum import StrEnum

from services.common.directory import Backlog


class BacklogChoice(StrEnum):
    """Of events that wait for the plugin when it is deactivated, and of new ones.

    ``pause``: both are kept until it is activated again. ``drain``: those that wait still run, new ones are not for it.
    ``discard``: neither is for it any more.
    """

    PAUSE = "pause"
    DRAIN = "drain"
    DISCARD = "discard"

    @property
    def published(self) -> Backlog:
        """As the workers are told."""
        return _PUBLISHED[self]


class BeginAt(StrEnum):
    """Which events a plugin that is activated gets first: those that were kept for it, or new ones only."""

    WHERE_IT_STOPPED = "where-it-stopped"
    NOW = "now"


_PUBLISHED: Mapping[BacklogChoice, Backlog] = {
    BacklogChoice.PAUSE: "pause",
    BacklogChoice.DRAIN: "drain",
    BacklogChoice.DISCARD: "none",
}
