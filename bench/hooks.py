"""Isolated hooks per second against a Faust agent that calls the same function in its own process."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

from bench.contenders.events import TYPE, events
from bench.parts import python, scratch
from bench.results import Goal, Result, result
from outlet.local.broker import Broker
from outlet.local.postgres import Postgres
from services.common.database import migrate
from services.common.kafka import open_producer
from services.common.topics import topic_of
from services.runtime.models import MIGRATIONS

ROOT = Path(__file__).parents[1]
GOAL = Goal(of="ratio", most=False, bound=6)


async def hooks(runs: int, count: int) -> list[Result]:
    """No-op hooks from the same records on the same broker: without asking the database, and as a worker does it."""
    async with scratch() as folder:
        broker, postgres = Broker(), Postgres(folder / "postgres", durable=False)
        await broker.start()
        await postgres.start()
        try:
            await postgres.create_database("bench")
            dsn = postgres.dsn("bench")
            await migrate(dsn, MIGRATIONS)
            await _produce(broker.bootstrap, count)
            size = str(count)
            sandbox, worker, faust = [], [], []
            for _ in range(runs):
                sandbox.append(await _rate("outlet_hooks", broker.bootstrap, size))
                faust.append(await _rate("faust_agent", broker.bootstrap, topic_of(TYPE), size))
                worker.append(await _rate("outlet_hooks", broker.bootstrap, size, dsn))
        finally:
            await postgres.stop()
            await broker.stop()
    peer = "Faust agent, in its own process"
    return [
        result("isolated no-op hooks: consumer, dispatch, sandbox", "/s", sandbox, peer=peer, peers=faust, goal=GOAL),
        result("the same, and the inbox asked", "/s", worker, peer=peer, peers=faust),
    ]


async def _produce(bootstrap: str, count: int) -> None:
    async with open_producer(bootstrap) as producer:
        sent = [
            await producer.send(
                topic_of(TYPE), key=event.record_key(event.id).encode(), value=event.data, headers=event.headers()
            )
            for event in events(count)
        ]
        await asyncio.gather(*sent)


async def _rate(contender: str, *arguments: str) -> float:
    process = await asyncio.create_subprocess_exec(
        *python("-m", f"bench.contenders.{contender}", *arguments), cwd=ROOT, stdout=PIPE
    )
    try:
        async with asyncio.timeout(120):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rate: float = json.loads(printed.splitlines()[-1])["per_second"]
    return rate
