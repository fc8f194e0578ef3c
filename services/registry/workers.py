"""The workers that are alive, as the registry asks for them."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.common.errors import Unavailable
from services.common.workers import Worker, read_workers

REDIS_SECONDS = 2.0


def open_redis(url: str) -> Redis:
    """A client that gives up after two seconds rather than hold a request."""
    return Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)


class LiveWorkers:
    """Reads the leases at every question. Raises Unavailable (``workers_unknown``) while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def live(self) -> list[Worker]:
        try:
            return await read_workers(self._redis)
        except (RedisError, OSError) as error:
            raise Unavailable(
                "It cannot be seen which workers are alive: Redis is away.", code="workers_unknown"
            ) from error
