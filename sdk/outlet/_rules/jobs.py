"""What may be enqueued."""

from datetime import datetime, timedelta
from typing import Any

from outlet import _values
from outlet._rules.refusal import ApiRefusal

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_KEY_LENGTH = 256
LONGEST_DELAY = timedelta(days=366)
MOST_WAITING = 10_000
"""Jobs of one installation that may wait at the same time."""


def planned(delay: float, at: datetime | None, now: datetime) -> datetime:
    """When a job is to run. Raises ApiRefusal ``invalid_delay``."""
    if at is not None and at.tzinfo is None:
        raise ApiRefusal("invalid_delay", "the moment to run at needs a time zone")
    # NaN fails this comparison too
    if not 0 <= delay <= LONGEST_DELAY.total_seconds() or (at is not None and at > now + LONGEST_DELAY):
        raise ApiRefusal("invalid_delay", f"a job runs after 0 seconds to {LONGEST_DELAY.days} days")
    return max(now, at) if at is not None else now + timedelta(seconds=delay)


def encode_payload(payload: Any) -> bytes:
    """Raises ApiRefusal ``payload_too_large``."""
    encoded = _values.encode(payload)
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise ApiRefusal(
            "payload_too_large", f"a job's payload has at most {MAX_PAYLOAD_BYTES} bytes, not {len(encoded)}"
        )
    return encoded


def check_job_key(key: str) -> str:
    """Raises ApiRefusal ``invalid_key``."""
    if not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
        raise ApiRefusal("invalid_key", f"a key has 1 to {MAX_KEY_LENGTH} characters, and none of them is NUL")
    return key
