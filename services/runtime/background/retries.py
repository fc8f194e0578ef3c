"""How long a failed piece of background work waits for its next attempt: exponential, with full jitter.

(https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/)
"""

from datetime import timedelta

MOST_ATTEMPTS = 8
FIRST = timedelta(seconds=10)
LONGEST = timedelta(hours=1)


def pause_before(attempts: int, chance: float) -> timedelta:
    """The pause after ``attempts`` failures; ``chance``, from 0 to 1, spreads what failed together."""
    return min(LONGEST, FIRST * (1 << attempts - 1)) * chance
