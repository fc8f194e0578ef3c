"""Outlet's side: consumer, dispatch and sandbox of a worker, with the plugin in a process of its own.

Run as ``python -m bench.contenders.outlet_hooks BOOTSTRAP COUNT [DATABASE]``. With a database, the inbox is asked for
each batch, as a worker does; without, that question has its answer at once.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from bench.contenders.report import Stopwatch
from bench.parts import built_plugin, installed, open_pool
from services.common.directory import Directory, Installation
from services.runtime.collector import collect_rarely
from services.runtime.delivery.consumer import EventConsumer
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures, RetryPolicy
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.lanes import HookRun
from services.runtime.delivery.ledger import Ledger
from services.runtime.invoker import Invoker
from services.runtime.sandbox import Zygote


class Unreported:
    """Stands for the reporter. A no-op hook fails nothing and calls nothing."""

    def hook_ran(self, installation: Installation, hook: str, store: str, seconds: float) -> None:
        return None


class EmptyLedger:
    """Stands for the attempt ledger."""

    async def known(self, _: Any) -> set[Any]:
        return set()

    async def blocked(self, _: Any) -> set[Any]:
        return set()


class EmptyInbox:
    """Stands for the database. A no-op hook asks it for nothing; only the worker does."""

    async def fetch(self, *_: Any) -> list[Any]:
        return []


class TimedHooks(Hooks):
    """Stops the watch with the last event."""

    def __init__(self, stopwatch: Stopwatch, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stopwatch = stopwatch
        self.through = asyncio.Event()

    def ended(self, run: HookRun, outcome: Exception | None, seconds: float) -> None:
        super().ended(run, outcome, seconds)
        if self._stopwatch.event():
            self.through.set()


async def run(bootstrap: str, count: int, dsn: str | None) -> None:
    plugin = built_plugin()
    directory = Directory()
    directory.put(installed(plugin))
    nothing: Any = Unreported()
    ledger: Any = EmptyLedger() if dsn is None else None
    stopwatch = Stopwatch(count)
    async with Zygote() as zygote, open_pool(zygote, plugin) as pool, _database(dsn) as database:
        resources: Any = None  # for API calls, of which a no-op hook makes none
        ledger = ledger or Ledger(database, "bench")
        invoker = Invoker(database, pool, resources, nothing)
        failures = Failures(ledger, RetryPolicy())
        hooks = TimedHooks(stopwatch, directory, pool, invoker, nothing, failures, deadline=5.0)
        dispatcher = Dispatcher(directory, database, ledger, hooks)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=f"bench-{uuid.uuid4().hex}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        events = EventConsumer(
            consumer, database, dispatcher, hooks, nothing, records_in_flight=2_000, drain_seconds=10.0
        )
        collect_rarely()
        consuming = asyncio.create_task(events.run())
        through = asyncio.create_task(hooks.through.wait())
        await asyncio.wait([consuming, through], return_when="FIRST_COMPLETED")
        if not through.done():
            await consuming  # raises what ended it
        stopwatch.report()
        consuming.cancel()
        await asyncio.wait([consuming])
        await consumer.stop()


@asynccontextmanager
async def _database(dsn: str | None) -> AsyncIterator[Any]:
    if dsn is None:
        yield EmptyInbox()
        return
    async with asyncpg.create_pool(dsn, min_size=2, max_size=24) as pool:
        yield pool


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
