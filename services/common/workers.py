"""Which workers are alive: leases in Redis, renewed every second, gone five seconds after the last renewal.

Losing Redis loses nothing but freshness: readers keep what they knew.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

INDEX = "outlet:workers"
LEASE_SECONDS = 5
RENEW_SECONDS = 1.0
REFRESH_SECONDS = 0.5


class Worker(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What a worker announces: its gRPC address, how far it has followed the directory, how strong its sandbox is."""

    id: str
    address: str
    directory_revision: int
    sandbox_tier: str | None = None


def _lease(worker_id: str) -> str:
    return f"outlet:worker:{worker_id}"


def _text(member: bytes | str) -> str:
    return member if isinstance(member, str) else member.decode()


def _cancelled() -> bool:
    """Whether this task was told to end: the Redis client can swallow the cancellation that told it so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class WorkerLease:
    """Announces one worker for as long as :meth:`run` runs."""

    def __init__(self, redis: Redis, describe: Callable[[], Worker]) -> None:
        self._redis = redis
        self._describe = describe
        self.tried = asyncio.Event()
        """Set once the worker has been announced for the first time, or Redis was found to be away."""

    async def run(self) -> None:
        """Renew until cancelled, then give the lease up."""
        try:
            while not _cancelled():
                try:
                    await self.renew()
                except (RedisError, OSError) as error:
                    log.warning("worker lease not renewed", error=repr(error))
                self.tried.set()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            await self._release()

    async def renew(self) -> None:
        worker = self._describe()
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_lease(worker.id), msgspec.json.encode(worker), ex=LEASE_SECONDS)
            pipeline.sadd(INDEX, worker.id)
            await pipeline.execute()

    async def _release(self) -> None:
        worker_id = self._describe().id
        try:
            await self._redis.delete(_lease(worker_id))
            await self._redis.srem(INDEX, worker_id)
        except (RedisError, OSError) as error:
            log.warning("worker lease not released; it ends by itself", error=repr(error))


async def read_workers(redis: Redis) -> list[Worker]:
    """The workers with a live lease, read now. Raises RedisError."""
    ids = sorted(map(_text, await redis.smembers(INDEX)))
    if not ids:
        return []
    leases = await redis.mget([_lease(worker_id) for worker_id in ids])
    ended = [worker_id for worker_id, lease in zip(ids, leases, strict=True) if lease is None]
    if ended:
        await redis.srem(INDEX, *ended)
    return [msgspec.json.decode(lease, type=Worker) for lease in leases if lease is not None]


class WorkerSource(Protocol):
    """Where the live workers are known from."""

    async def live(self) -> list[Worker]: ...


class FreshWorkers:
    """Reads Redis at every question: for rare calls that must be right."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def live(self) -> list[Worker]:
        return await read_workers(self._redis)


class FollowedWorkers:
    """Answers from memory, refreshed twice a second: for every request."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: list[Worker] = []

    async def live(self) -> list[Worker]:
        return self._known

    async def run(self) -> None:
        """Refresh until cancelled; while Redis is away the last known workers stay."""
        while not _cancelled():
            try:
                self._known = await read_workers(self._redis)
            except (RedisError, OSError) as error:
                log.warning("workers not refreshed, keeping the known ones", error=repr(error))
            await asyncio.sleep(REFRESH_SECONDS)


def preferred(workers: list[Worker], organization: str, plugin_id: str) -> list[Worker]:
    """All workers, the one whose sandbox is likely warm first (rendezvous hashing, Thaler and Ravishankar 1998)."""

    def weight(worker: Worker) -> bytes:
        return hashlib.blake2b(f"{organization}\0{plugin_id}\0{worker.id}".encode(), digest_size=8).digest()

    return sorted(workers, key=weight, reverse=True)
