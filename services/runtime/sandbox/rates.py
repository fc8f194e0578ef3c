"""How much of something may come per second."""

import time
from collections.abc import Callable


class Allowance:
    """``per_second`` of something, at most ``burst`` at once (a token bucket)."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._since = clock()

    def take(self, amount: float) -> bool:
        """Use some; False when there is not enough left."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._since) * self._per_second) - amount
        self._since = now
        return self._left >= 0
