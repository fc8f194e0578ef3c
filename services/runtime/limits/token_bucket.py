"""A token bucket: a burst of ``capacity``, refilled evenly."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """``capacity`` calls at once, ``per_minute`` calls in the long run."""

    capacity: int
    per_minute: int

    @property
    def per_second(self) -> float:
        return self.per_minute / 60

    def seconds_until(self, missing: float) -> float:
        """How long it takes until ``missing`` tokens have come."""
        return max(0.0, missing) / self.per_second


class TokenBucket:
    """One bucket in this process, full at first. Times are seconds of any clock that only goes forward."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.capacity)
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Take up to ``wanted`` tokens; how many there were."""
        self._refill(now)
        taken = min(wanted, int(self._tokens))
        self._tokens -= taken
        return taken

    def left(self, now: float) -> float:
        self._refill(now)
        return self._tokens

    def _refill(self, now: float) -> None:
        self._tokens = min(self._rate.capacity, self._tokens + (now - self._at) * self._rate.per_second)
        self._at = now
