"""When a delivery is tried again, and when a webhook is given up."""

import random
from datetime import timedelta

PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
)
"""Between attempts: eight of them, over a day and a quarter."""
JITTER = 0.2
LONGEST_BREAK = timedelta(minutes=5)
GONE = 410
GONE_TIMES = 3
FAILING_DAYS = 5


def pause_after(attempts: int, chance: float | None = None) -> timedelta | None:
    """How long to wait after the ``attempts``-th attempt failed; None when it was the last. ``chance``: 0 to 1."""
    if attempts > len(PAUSES):
        return None
    chance = random.random() if chance is None else chance  # noqa: S311  spreads load, guards nothing
    return PAUSES[attempts - 1] * (1 - JITTER + 2 * JITTER * chance)


def break_after(failures: int) -> timedelta:
    """How long a receiver that failed so often in a row is left alone by everything that waits for it."""
    return min(timedelta(seconds=2 ** min(failures, 10)), LONGEST_BREAK)
