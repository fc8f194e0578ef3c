"""What plugins emit."""

import json
import re
from typing import Any

from outlet._rules.refusal import ApiRefusal

EVENT_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*")
MAX_EVENT_BYTES = 64 * 1024


def check_event_name(name: str) -> None:
    """Raises ApiRefusal ``invalid_event_name``."""
    if not EVENT_NAME.fullmatch(name) or len(name) > 64:
        raise ApiRefusal("invalid_event_name", f"{name!r:.80} is no event name such as points-earned")


def encode_event(data: dict[str, Any]) -> bytes:
    """The data as JSON. Raises ApiRefusal ``invalid_event`` or ``event_too_large``."""
    try:
        encoded = json.dumps(data, default=str, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ApiRefusal("invalid_event", f"an event's data is JSON: {error}") from error
    if len(encoded) > MAX_EVENT_BYTES:
        raise ApiRefusal("event_too_large", f"an event's data is at most {MAX_EVENT_BYTES} bytes")
    return encoded
