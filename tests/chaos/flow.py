"""The sales of the run: most go straight to Kafka, some through the gateway, each until somebody answers for it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from outlet.local.stack import Stack
from outlet.samples import Sale
from outlet.samples.records import Record, record
from tests.chaos.grounds import ORGANIZATION
from tests.chaos.ledger import Entry, Ledger

THROUGH_GATEWAY = 0.25
ON_THE_WAY = 1_000
"""Sales that may wait for their acknowledgement at once; a till has a memory too."""
RESERVE = 0.25
"""The last share of a stage. From there on sales trickle, at the cost of later stages, until the next one is opened."""
TRICKLE = 0.1
"""The rate of that, as a share of the usual one."""
PAUSE_SECONDS = 0.1
ATTEMPT_SECONDS = 5.0


class Flow:
    """Sends ``sales`` in order, at most ``rate`` a second, as far as stages have been opened for them."""

    def __init__(self, stack: Stack, sales: Sequence[Sale], ledger: Ledger, *, rate: float, seed: int) -> None:
        self._stack = stack
        self._sales = list(reversed(sales))
        self._ledger = ledger
        self._rate = rate
        self._rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._ways = random.Random(seed)  # noqa: S311 - apart from the other: a sale's way is the same in every run
        self._allowed = 0
        self._reserve = 0
        self._changed = asyncio.Condition()
        self._room = asyncio.Semaphore(ON_THE_WAY)
        self._scrambled: list[Entry] = []
        self._to_scramble = 0

    @property
    def sent(self) -> int:
        """How many sales were sent so far, acknowledged or not."""
        return len(self._ledger.entries)

    def open_stage(self, until: int, size: int) -> None:
        """Let sales flow up to this many in all, of which the last share of ``size`` is the reserve."""
        self._allowed, self._reserve = until, round(size * RESERVE)

    def open_all(self) -> None:
        """Let all that are left flow at the usual rate."""
        self._allowed, self._reserve = self.sent + len(self._sales), 0

    async def until_sent(self, count: int) -> None:
        """Wait until so many were sent, or there are no more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.sent >= count or not self._sales)

    def scramble(self, count: int) -> None:
        """Send the next so many in another order and some of them twice, and some of the earlier ones again."""
        self._to_scramble = count

    async def run(self) -> None:
        """Send everything; returns when all of it is acknowledged."""
        async with _producer(self._stack) as producer, _tills(self._stack) as tills, asyncio.TaskGroup() as tasks:

            def deliver(entry: Entry) -> None:
                work = self._to_kafka(producer, entry) if entry.way == "kafka" else self._to_gateway(tills, entry)
                tasks.create_task(work)

            while self._sales:
                await self._turn(deliver)
            self._release(deliver)

    async def _turn(self, deliver: Callable[[Entry], None]) -> None:
        slow = self.sent >= self._allowed - self._reserve
        await self._room.acquire()
        sale = self._sales.pop()
        through_gateway = self._ways.random() < THROUGH_GATEWAY
        item = record("sale", sale, organization=ORGANIZATION)
        entry = Entry(sale, item, "gateway" if through_gateway else "kafka")
        self._ledger.send(entry)
        if self._to_scramble:
            self._scrambled.append(entry)
            self._to_scramble -= 1
        else:
            self._release(deliver)
            deliver(entry)
        async with self._changed:
            self._changed.notify_all()
        await asyncio.sleep(self._rng.expovariate(self._rate * (TRICKLE if slow else 1)))

    def _release(self, deliver: Callable[[Entry], None]) -> None:
        """Send what was held back, out of order and partly twice, with repetitions of what was sent before."""
        if not self._scrambled:
            return
        held, self._scrambled = self._scrambled, []
        earlier = self._ledger.latest(4 * len(held))
        again = self._rng.sample(earlier, k=min(len(earlier), len(held))) + self._rng.choices(held, k=len(held) // 2)
        everything = held + again
        self._rng.shuffle(everything)
        for entry in everything:
            deliver(entry)

    async def _to_kafka(self, producer: AIOKafkaProducer, entry: Entry) -> None:
        item: Record = entry.record
        while True:
            try:
                placed = await producer.send_and_wait(item.topic, item.value, key=item.key, headers=list(item.headers))
            except KafkaError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self._acknowledged(entry, placed.partition)
            return

    async def _to_gateway(self, tills: httpx.AsyncClient, entry: Entry) -> None:
        headers = _http_headers(entry.record)
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await tills.post("/api/events", content=entry.record.value, headers=headers)
                if answer.status_code == 202:
                    self._acknowledged(entry)
                    return
                if answer.is_client_error:
                    raise RuntimeError(f"the gateway refused a sale: {answer.status_code} {answer.text}")
            await asyncio.sleep(PAUSE_SECONDS)

    def _acknowledged(self, entry: Entry, partition: int | None = None) -> None:
        if entry.acknowledged_at is None:
            self._room.release()
        self._ledger.acknowledge(entry, partition)


@contextlib.asynccontextmanager
async def _producer(stack: Stack) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(
        bootstrap_servers=stack.bootstrap,
        acks="all",
        linger_ms=2,
        request_timeout_ms=round(ATTEMPT_SECONDS * 1000),
    ) as producer:
        yield producer


@contextlib.asynccontextmanager
async def _tills(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    token = stack.issuer.token("cashier", ORGANIZATION)
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(
        base_url=stack.gateway_url,
        timeout=httpx.Timeout(15, pool=None),
        limits=limits,
        headers={"authorization": f"Bearer {token}"},
    ) as tills:
        yield tills


def _http_headers(item: Record) -> dict[str, str]:
    """The record's attributes in CloudEvents' binary mode for HTTP."""
    named = {name.replace("ce_", "ce-", 1): content.decode() for name, content in item.headers}
    return {name: text for name, text in named.items() if name.startswith("ce-")} | {"content-type": "application/json"}
