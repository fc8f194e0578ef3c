import asyncio

import pytest
from redis.asyncio import Redis

from services.common.workers import (
    INDEX,
    FollowedWorkers,
    FreshWorkers,
    Worker,
    WorkerLease,
    preferred,
    read_workers,
)
from tests.support.directory import eventually


@pytest.fixture
async def redis(redis_url: str):  # type: ignore[no-untyped-def]
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
        yield client


def worker(name: str, revision: int = 0) -> Worker:
    return Worker(id=name, address=f"127.0.0.1:{len(name)}", directory_revision=revision)


async def test_a_worker_is_known_while_it_renews_and_gone_when_it_leaves(redis: Redis) -> None:
    lease = WorkerLease(redis, lambda: worker("w1", 7))
    await lease.renew()
    assert await read_workers(redis) == [worker("w1", 7)]
    task = asyncio.create_task(lease.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await read_workers(redis) == []


async def test_a_worker_that_died_is_forgotten_when_its_lease_ends(redis: Redis) -> None:
    for name in ("w1", "w2"):
        await WorkerLease(redis, lambda name=name: worker(name)).renew()  # type: ignore[misc]
    await redis.delete("outlet:worker:w1")
    assert await FreshWorkers(redis).live() == [worker("w2")]
    assert await redis.scard(INDEX) == 1


async def test_every_lease_ends_by_itself(redis: Redis) -> None:
    await WorkerLease(redis, lambda: worker("w1")).renew()
    assert 0 < await redis.ttl("outlet:worker:w1") <= 5


async def test_while_redis_is_away_the_last_known_workers_stay(redis: Redis, redis_url: str) -> None:
    own = Redis.from_url(redis_url)
    followed = FollowedWorkers(own)
    await WorkerLease(redis, lambda: worker("w1")).renew()
    task = asyncio.create_task(followed.run())
    try:
        await eventually(followed.live)
        own.connection_pool.connection_kwargs["port"] = 1
        await own.connection_pool.disconnect()
        await asyncio.sleep(0.6)
        assert await followed.live() == [worker("w1")]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await own.aclose()


def test_a_plugin_keeps_its_worker_when_another_one_leaves() -> None:
    workers = [worker(f"w{number}") for number in range(5)]
    for plugin in (f"plugin-{number}" for number in range(50)):
        first = preferred(workers, "acme", plugin)[0]
        others = [one for one in workers if one is not preferred(workers, "acme", plugin)[-1]]
        assert preferred(others, "acme", plugin)[0] == first


def test_plugins_spread_over_workers() -> None:
    workers = [worker(f"w{number}") for number in range(4)]
    firsts = [preferred(workers, "acme", f"plugin-{number}")[0].id for number in range(200)]
    assert all(firsts.count(one.id) > 20 for one in workers)


async def test_a_worker_knows_when_it_has_been_announced_or_could_not_be(redis: Redis) -> None:
    async with Redis.from_url("redis://127.0.0.1:1") as away:
        for lease, known in (
            (WorkerLease(redis, lambda: worker("w1")), 1),
            (WorkerLease(away, lambda: worker("w2")), 0),
        ):
            task = asyncio.create_task(lease.run())
            await asyncio.wait_for(lease.tried.wait(), 5)
            assert len(await read_workers(redis)) == known
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
