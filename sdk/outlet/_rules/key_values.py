"""What the keys and values of key-value data may be."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from outlet._rules.refusal import ApiRefusal

MAX_KEY = 256
MAX_VALUE_BYTES = 64 * 1024
MAX_KEYS = 10_000
MAX_LIST = 1_000
MAX_PAGE_BYTES = 192 * 1024
"""A page ends here at the latest: an answer is one frame of at most 256 KiB."""
MAX_LIFETIME = timedelta(days=3_660)


def check_limit(limit: int) -> None:
    """Raises ApiRefusal ``invalid_limit``."""
    if not 1 <= limit <= MAX_LIST:
        raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_LIST}")


def check_step(by: Any) -> Decimal:
    """What is added to a number. Raises ApiRefusal ``invalid_value``."""
    if isinstance(by, bool) or not isinstance(by, int | Decimal) or not -100 < Decimal(by).adjusted() < 100:
        raise ApiRefusal("invalid_value", f"by: {by!r:.80} is no whole number and no Decimal (below 100 digits)")
    return Decimal(by)


def check_key(key: str) -> str:
    """Raises ApiRefusal ``invalid_key``."""
    if not key:
        raise ApiRefusal("invalid_key", "a key has at least one character")
    return check_text("key", key)


def check_text(name: str, text: str) -> str:
    """A key, or the beginning of one. Raises ApiRefusal ``invalid_key``."""
    if len(text) > MAX_KEY or "\0" in text:
        raise ApiRefusal("invalid_key", f"{name}: at most {MAX_KEY} characters, none of them NUL")
    return text


def read_lifetime(seconds: float | None) -> timedelta | None:
    """How long a value lives; None is for ever. Raises ApiRefusal ``invalid_value``."""
    if seconds is None:
        return None
    if not 0 < seconds <= MAX_LIFETIME.total_seconds():
        raise ApiRefusal("invalid_value", f"expires_in: seconds above 0, at most {MAX_LIFETIME.days} days")
    return timedelta(seconds=seconds)
