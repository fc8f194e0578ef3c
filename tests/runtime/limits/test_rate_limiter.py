"""API calls are counted per installation, over all workers, and also while Redis is away."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis

from outlet.local.valkey import Valkey
from services.runtime.limits.rate_limiter import RateLimiter
from services.runtime.limits.token_bucket import Rate, TokenBucket
from services.runtime.plugin_api.errors import ApiRefusal


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as connected:
        yield connected


@pytest.fixture
def found() -> str:
    return uuid.uuid4().hex


def limiter_of(redis: Redis, rate: Rate) -> RateLimiter:
    """One for whom Redis is never too slow."""
    return RateLimiter(redis, rate, answer_within=10)


async def spend(limiter: RateLimiter, found: str, calls: int) -> int:
    """How many of so many calls are let through."""
    through = 0
    for _ in range(calls):
        with suppress(ApiRefusal):
            await limiter.take(found)
            through += 1
    return through


async def test_a_burst_is_let_through_and_then_refused(redis: Redis, found: str) -> None:
    limiter = limiter_of(redis, Rate(capacity=120, per_minute=1))
    assert await spend(limiter, found, 200) == 120
    with pytest.raises(ApiRefusal) as refused:
        await limiter.take(found)
    assert refused.value.code == "rate_limited"
    assert "try again in" in refused.value.message
    assert "alone" not in refused.value.message


async def test_workers_share_one_bucket_and_installations_do_not(redis: Redis, found: str) -> None:
    workers = [limiter_of(redis, Rate(capacity=100, per_minute=1)) for _ in range(4)]
    through = await asyncio.gather(*(spend(worker, found, 50) for worker in workers))
    assert sum(through) == 100
    assert await spend(workers[0], uuid.uuid4().hex, 10) == 10


async def test_calls_at_once_are_counted_one_by_one(redis: Redis, found: str) -> None:
    limiter = limiter_of(redis, Rate(capacity=50, per_minute=1))
    assert sum(await asyncio.gather(*(spend(limiter, found, 1) for _ in range(90)))) == 50


async def test_tokens_come_back(redis: Redis, found: str) -> None:
    limiter = limiter_of(redis, Rate(capacity=10, per_minute=60_000))
    assert await spend(limiter, found, 10) == 10
    await asyncio.sleep(0.02)
    assert await spend(limiter, found, 5) == 5


async def test_most_calls_cost_no_round_trip(redis: Redis, found: str) -> None:
    limiter = limiter_of(redis, Rate(capacity=10_000, per_minute=1))
    before = (await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert await spend(limiter, found, 1_000) == 1_000
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 10


async def test_what_is_left_is_known(redis: Redis, found: str) -> None:
    limiter = limiter_of(redis, Rate(capacity=100, per_minute=60))
    assert limiter.allowance(found).remaining == 100
    await spend(limiter, found, 30)
    left = limiter.allowance(found)
    assert (left.limit, left.remaining) == (100, 70)
    assert 29 <= left.reset <= 30


async def test_while_redis_is_away_a_worker_counts_for_itself_and_says_so(tmp_path: Path, found: str) -> None:
    server = Valkey(tmp_path)
    await server.start()
    now = 0.0
    async with Redis.from_url(server.url) as redis:
        limiter = RateLimiter(redis, Rate(capacity=100, per_minute=60), clock=lambda: now)
        assert await spend(limiter, found, 10) == 10
        await server.stop()
        with structlog.testing.capture_logs() as logs:
            assert await spend(limiter, found, 200) == 100  # a bucket of its own, full
        assert [line["log_level"] for line in logs] == ["warning"]
        assert not limiter.shared
        with pytest.raises(ApiRefusal, match="Redis is away"):
            await limiter.take(found)
        now += 5
        assert await spend(limiter, found, 20) == 5


def test_a_bucket_refills_evenly_and_no_further_than_full() -> None:
    bucket = TokenBucket(Rate(capacity=10, per_minute=60), now=0)
    assert bucket.take(20, now=0) == 10
    assert bucket.take(20, now=3.5) == 3
    assert bucket.take(20, now=1_000) == 10
