"""What the platform stands on goes away and comes back."""

import random

from redis.asyncio import Redis

from tests.chaos.faults.fault import Fault


class BrokerStopped(Fault):
    name = "broker stopped"

    @property
    def holds(self) -> float:
        return self.scale.broker_away

    async def aim(self, rng: random.Random) -> str:
        self._crash = rng.random() < 0.5
        return "crashed" if self._crash else "shut down"

    async def inject(self) -> None:
        await (self.grounds.kafka.kill if self._crash else self.grounds.kafka.stop)()

    async def heal(self) -> None:
        await self.grounds.kafka.start()


class DatabaseRestarted(Fault):
    name = "PostgreSQL restarted"

    async def aim(self, rng: random.Random) -> str:
        self._crash = rng.random() < 0.5
        return "crashed" if self._crash else "shut down"

    async def inject(self) -> None:
        await (self.grounds.postgres.kill if self._crash else self.grounds.postgres.stop)()

    async def heal(self) -> None:
        await self.grounds.postgres.start()


class RedisFlushed(Fault):
    name = "Redis flushed"
    goes_on = True

    async def aim(self, rng: random.Random) -> str:
        return "all of its data"

    async def inject(self) -> None:
        async with Redis.from_url(self.grounds.redis.url) as client:
            await client.flushall()


class RedisStopped(Fault):
    name = "Redis stopped"
    goes_on = True

    @property
    def holds(self) -> float:
        return self.scale.redis_away

    async def aim(self, rng: random.Random) -> str:
        return f"for {self.holds:g} s at least"

    async def inject(self) -> None:
        await self.grounds.redis.kill()

    async def heal(self) -> None:
        await self.grounds.redis.start()
