"""Sales that flow at an even rate, and how long each takes to have its effect."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import asyncpg
from aiokafka import AIOKafkaProducer

from outlet.local.stack import Stack
from outlet.samples.records import Position, Record

LOOK_SECONDS = 0.05

_DONE = "SELECT id FROM inbox WHERE installation_id = $1 AND target = 'sale.created' AND id = ANY($2::text[])"


@dataclass(slots=True)
class Flow:
    """Sends records of sales that have an effect, ``rate`` a second, and sees when the effects are there."""

    stack: Stack
    installation: str
    rate: float
    positions: list[Position] = field(default_factory=list)
    stopped: bool = False
    _sent: dict[str, tuple[float, int]] = field(default_factory=dict)
    """When the events were sent whose effect has not been seen, and to which partition."""
    _latencies: list[float] = field(default_factory=list)
    _seen: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def send(self, records: Sequence[Record]) -> int:
        """Send until told to stop, or all of them; how many it were."""
        count = 0
        async with AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap, acks="all") as producer:
            for item in records:
                if self.stopped:
                    break
                began = time.monotonic()
                placed = await producer.send_and_wait(item.topic, item.value, key=item.key, headers=list(item.headers))
                self._sent[item.id] = began, placed.partition
                self.positions.append(Position(placed.topic, placed.partition, placed.offset))
                count += 1
                await asyncio.sleep(max(0.0, began + 1 / self.rate - time.monotonic()))
        return count

    async def watch(self) -> None:
        """Look until all that was sent has its effect and no more is to come."""
        connection = await asyncpg.connect(self.stack.database_urls["runtime"])
        try:
            while self._sent or not self.stopped:
                rows = await connection.fetch(_DONE, self.installation, list(self._sent))
                now = time.monotonic()
                for row in rows:
                    began, partition = self._sent.pop(row["id"])
                    self._latencies.append(now - began)
                    self._seen[partition].append(now)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()

    @property
    def longest_pause(self) -> float:
        """The longest time, in seconds, in which nothing of some partition was processed."""
        return max(later - earlier for times in self._seen.values() for earlier, later in pairwise(times))

    @property
    def latencies(self) -> list[float]:
        """Seconds from sending a sale to its effect, from the shortest."""
        return sorted(self._latencies)
