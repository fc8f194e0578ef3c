"""How many API calls an installation may make: one token bucket per installation in Redis, for all workers.

A worker takes tokens in bulk and spends them from memory, so most calls cost no round trip. While Redis is away each
worker counts for itself, from a bucket of the same size.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.runtime.limits.token_bucket import Rate, TokenBucket
from services.runtime.plugin_api.errors import ApiRefusal

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 0.25
AWAY_SECONDS = 1.0
"""For so long Redis is not asked again once it was away."""
LEASE_SHARE = 50
"""A worker takes this part of a bucket at a time."""
MOST_ACCOUNTS = 20_000
"""Installations remembered; beyond it, all are forgotten, and with them at most one lease each."""

# The clock is Redis's own, so workers need not agree on theirs. Answers what was taken and what is left.
_TAKE = """
local capacity, per_second, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or capacity
local at = tonumber(kept[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * per_second)
local taken = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - taken), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity / per_second * 1000) + 60000)
return {taken, tostring(tokens - taken)}
"""


@dataclass(slots=True)
class _Account:
    """What one worker knows of one installation's bucket."""

    leased: int = 0
    left: float = 0.0
    """Tokens in the bucket when it was last looked at."""
    looked_at: float = 0.0
    empty_until: float = 0.0
    """Nothing is left before, so nobody need be asked."""
    local: TokenBucket | None = None
    """The worker's own bucket, while Redis is away."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit: calls at once, calls left, and whole seconds until all of them are back."""

    limit: int
    remaining: int
    reset: int


class RateLimiter:
    """Counts the API calls of installations. ``shared`` is false while Redis is away.

    Redis has ``answer_within`` seconds to answer before it counts as away.
    """

    def __init__(
        self,
        redis: Redis,
        rate: Rate,
        *,
        clock: Callable[[], float] = time.monotonic,
        answer_within: float = ANSWER_SECONDS,
    ) -> None:
        self._take_script = redis.register_script(_TAKE)
        self._rate = rate
        self._clock = clock
        self._answer_within = answer_within
        self._lease = max(1, rate.capacity // LEASE_SHARE)
        self._accounts: dict[str, _Account] = {}
        self._ask_again_at = float("-inf")
        self.shared = True

    async def take(self, installation_id: str) -> None:
        """Spend one call. Raises ApiRefusal ``rate_limited``."""
        account = self._account(installation_id)
        if account.leased == 0:
            if self._clock() < account.empty_until:
                raise self._refusal(account)
            async with account.turn:  # whoever comes meanwhile finds what the first one brought
                if account.leased == 0:
                    account.leased = await self._more(installation_id, account)
                if account.leased:
                    account.leased -= 1
                    return
                account.empty_until = self._clock() + self._rate.seconds_until(1 - account.left)
            raise self._refusal(account)
        account.leased -= 1

    def allowance(self, installation_id: str) -> Allowance:
        """What this worker believes is left to an installation; other workers may have spent some of it."""
        account = self._accounts.get(installation_id)
        left = float(self._rate.capacity) if account is None else self._left(account)
        remaining = min(self._rate.capacity, int(left))
        return Allowance(
            self._rate.capacity, remaining, math.ceil(self._rate.seconds_until(self._rate.capacity - left))
        )

    def _account(self, installation_id: str) -> _Account:
        account = self._accounts.get(installation_id)
        if account is None:
            if len(self._accounts) >= MOST_ACCOUNTS:
                self._accounts.clear()
            account = self._accounts[installation_id] = _Account()
        return account

    async def _more(self, installation_id: str, account: _Account) -> int:
        """Tokens for this worker to spend, from the shared bucket or, while Redis is away, from its own."""
        now = self._clock()
        if now >= self._ask_again_at:
            try:
                async with asyncio.timeout(self._answer_within):
                    taken, left = await self._take_script(
                        keys=[f"outlet:rate:{installation_id}"],
                        args=[self._rate.capacity, self._rate.per_second, self._lease],
                    )
            except (RedisError, OSError) as error:  # a timeout is an OSError
                self._ask_again_at = now + AWAY_SECONDS
                if self.shared:
                    self.shared = False
                    log.warning("Redis is away: each worker limits API calls by itself", error=repr(error))
            else:
                if not self.shared:
                    self.shared = True
                    log.info("Redis is back: API calls are limited for all workers together")
                account.local = None
                account.left, account.looked_at = float(left), now
                return int(taken)
        if account.local is None:
            account.local = TokenBucket(self._rate, now)
        taken = account.local.take(self._lease, now)
        account.left, account.looked_at = account.local.left(now), now
        return taken

    def _left(self, account: _Account) -> float:
        since = self._clock() - account.looked_at
        return min(self._rate.capacity, account.leased + account.left + since * self._rate.per_second)

    def _refusal(self, account: _Account) -> ApiRefusal:
        seconds = account.empty_until - self._clock()
        whose = "" if self.shared else " (counted by this worker alone: Redis is away)"
        return ApiRefusal(
            "rate_limited",
            f"the installation has made its {self._rate.capacity} API calls{whose}; "
            f"{self._rate.per_minute} more come per minute: try again in {max(seconds, 0.001):.3f} s",
        )
