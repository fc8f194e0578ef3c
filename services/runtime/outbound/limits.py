"""How many requests a plugin may have under way and begin, in one worker."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.runtime.plugin_api.errors import ApiRefusal

FORGET_ABOVE = 10_000


class FetchLimits:
    """A token bucket and a number of concurrent requests per installation.

    Beyond these, requests of handlers that have a transaction open count together: each keeps a connection to the
    database idle, and the handlers of all others need those.
    """

    def __init__(
        self,
        *,
        per_minute: int = 600,
        concurrent: int = 8,
        in_transactions: int = 6,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1.0, per_minute / 10)
        self._concurrent = concurrent
        self._in_transactions = in_transactions
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # installation: (tokens, when)
        self._running: Counter[str] = Counter()
        self._holding = 0

    @contextmanager
    def one(self, installation_id: str, *, in_transaction: bool) -> Iterator[None]:
        """One request, for as long as the block runs. Raises ApiRefusal."""
        if self._running[installation_id] >= self._concurrent:
            raise ApiRefusal("fetch_busy", f"at most {self._concurrent} requests of a plugin run at once: await some")
        if in_transaction and self._holding >= self._in_transactions:
            raise ApiRefusal(
                "fetch_busy", "too many handlers fetch with their transaction open: fetch before you read or write data"
            )
        self._take(installation_id)
        self._running[installation_id] += 1
        self._holding += in_transaction
        try:
            yield
        finally:
            self._holding -= in_transaction
            self._running[installation_id] -= 1
            if not self._running[installation_id]:
                del self._running[installation_id]

    def _take(self, installation_id: str) -> None:
        now = self._clock()
        if len(self._buckets) > FORGET_ABOVE:
            self._buckets = {
                key: found for key, found in self._buckets.items() if self._level(found, now) < self._burst
            }
        tokens = self._level(self._buckets.get(installation_id, (self._burst, now)), now)
        if tokens < 1:
            wait = (1 - tokens) / self._rate
            raise ApiRefusal("fetch_rate_limited", f"{self._rate * 60:g} requests a minute: try again in {wait:.1f} s")
        self._buckets[installation_id] = (tokens - 1, now)

    def _level(self, bucket: tuple[float, float], now: float) -> float:
        tokens, when = bucket
        return min(self._burst, tokens + (now - when) * self._rate)
