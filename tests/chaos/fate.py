"""What the failing plugin is to come to on an event: worked out from the event's id, as the plugin itself does."""

import hashlib
from typing import Literal

ALWAYS_FAILS = 0.1
MAY_FAIL = 0.3

Fate = Literal["effect", "dead letter", "either"]


def fate(event: str) -> Fate:
    """``either``: it fails at some attempts, and how many it gets is the platform's matter."""
    kind = hashlib.sha256(event.encode()).digest()[0] / 256
    if kind < ALWAYS_FAILS:
        return "dead letter"
    return "either" if kind < MAY_FAIL else "effect"
