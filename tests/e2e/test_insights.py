"""The insights process at work: registry, Kafka and the real Faust application, killed on the way."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from outlet.local.health import http_ready
from outlet.local.network import free_port
from outlet.local.process import Process
from outlet.local.waiting import until
from services.common.directory import Directory, DirectoryFollower
from services.common.kafka import open_producer
from services.common.reports import encode_summary
from services.common.topics import EXECUTIONS
from tests.registry.platform import Client, running_registry
from tests.registry.worker import running_worker
from tests.runtime.breaker.summaries import hook, summary
from tests.support.real import RealParts

RUNS = 10
START_SECONDS = 90
STOP_SECONDS = 5
OPEN_SECONDS = 3


class FakePlugin:
    """A plugin that runs ten hooks in a fifth of a second wherever its breaker lets it, as its worker tells."""

    def __init__(self, producer: AIOKafkaProducer, directory: Directory, installation_id: str) -> None:
        self._producer = producer
        self._directory = directory
        self._id = installation_id
        self._worker = f"w/{uuid4()}"
        self.fails = True
        self.stopped = False
        self.summaries = 0

    @property
    def runs(self) -> int:
        return self.summaries * RUNS

    async def run(self) -> None:
        while True:
            found = self._directory.get(self._id)
            if found is not None and not self.stopped and found.listens and found.breaker.state != "open":
                self.summaries += 1
                ran = hook(RUNS, RUNS if self.fails else 0)
                sent = summary(self._id, self.summaries, ran, worker_id=self._worker, revision=found.revision)
                # Told twice, as a producer does that missed the acknowledgement.
                for _ in range(2):
                    await self.publish(encode_summary(sent))
            await asyncio.sleep(0.2)

    async def publish(self, value: bytes | None) -> None:
        await self._producer.send_and_wait(EXECUTIONS.name, value, key=self._id.encode())


def insights(bootstrap: str, folder: Path) -> tuple[Process, Callable[[], Awaitable[None]]]:
    """The process, and how to wait until it is ready."""
    port = free_port()
    told = {
        "OUTLET_ENVIRONMENT": "development",
        "OUTLET_KAFKA_BOOTSTRAP": bootstrap,
        "OUTLET_INSIGHTS_PORT": str(port),
        "OUTLET_BREAKER_OPEN_SECONDS": str(OPEN_SECONDS),
        "OUTLET_STATISTICS_SECONDS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
    command = [sys.executable, "-P", "-m", "services.runtime.insights"]
    process = Process("insights", command, log=folder / "insights.log", environment=own | told)
    return process, lambda: process.until_ready(partial(http_ready, port), START_SECONDS)


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def becomes(owner: Client, installation_id: str, state: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def has() -> bool:
        found.update(await owner.read(installation_id))
        return bool(found["breaker"]["state"] == state)

    await until(has, within=60, what=f"the breaker is {state}")
    assert found["status"] == status
    return found


async def watch_a_plugin_that_fails(
    dsn: str, redis_url: str, bootstrap: str, folder: Path, *, create_topics: bool
) -> None:
    process, ready = insights(bootstrap, folder)
    directory = Directory()
    async with (
        running_registry(dsn, redis_url, bootstrap, folder / "keys", kafka_create_topics=create_topics) as registry,
        running_worker(redis_url),
        open_producer(bootstrap) as producer,
    ):
        owner = registry.caller("owner")
        installation_id = (await owner.install(await registry.publish()))["id"]
        await owner.post(f"/{installation_id}/activate")
        plugin = FakePlugin(producer, directory, installation_id)
        await process.start()
        try:
            await ready()
            for poison in (b"rubbish", None, b"{}", b"\xff"):
                await plugin.publish(poison)
            async with running(DirectoryFollower(bootstrap, directory).run(), plugin.run()):
                opened = await becomes(owner, installation_id, "open", "error")
                assert f"circuit breaker open: {opened['breaker']['reason']}" == opened["statusReason"]
                assert "events failed within" in opened["breaker"]["reason"]

                process.kill()
                assert await process.wait() == -signal.SIGKILL
                assert (await owner.read(installation_id))["breaker"]["state"] == "open"
                await process.start()
                await ready()

                # Its trial runs fail: it opens again, with another time.
                async def opens_again() -> bool:
                    breaker = (await owner.read(installation_id))["breaker"]
                    return bool(breaker["state"] == "open" and breaker["since"] != opened["breaker"]["since"])

                await until(opens_again, within=60, what="the trial runs have failed")
                plugin.fails = False
                await becomes(owner, installation_id, "closed", "active")
                plugin.stopped = True
                await agree(owner, installation_id, plugin)
        finally:
            begun = asyncio.get_running_loop().time()
            await process.stop(STOP_SECONDS)
        took = asyncio.get_running_loop().time() - begun
        assert (await process.wait(), took < STOP_SECONDS) == (-signal.SIGTERM, True), process.tail()


async def agree(owner: Client, installation_id: str, plugin: FakePlugin) -> None:
    """Wait until the statistics have come to an end: they tell of every run once, or of none in a window cut short."""
    stats: dict[str, Any] = {}

    async def counted() -> bool:
        stats.update((await owner.get(f"/{installation_id}/stats")).json())
        latest = stats["recent"]["hooks"] if stats["recent"] else []
        return bool(stats["hookRuns"] >= plugin.runs and latest and stats["recent"]["runs"] > 0)

    await until(counted, within=30, what="all runs are counted")
    assert stats["hookRuns"] == plugin.runs
    assert [(each["hook"], each["storeId"], each["runs"]) for each in stats["hooks"]] == [
        ("sale.created", "s1", plugin.runs)
    ]
    assert 0 < stats["recent"]["runs"] <= plugin.runs
    assert stats["recent"]["p50Ms"] == pytest.approx(2, rel=0.1)


@pytest.mark.timeout(300)
async def test_a_breaker_opens_tries_and_closes_on_the_embedded_broker(
    database: Callable[[str], Awaitable[str]], redis_url: str, fresh_kafka_bootstrap: str, tmp_path: Path
) -> None:
    redis = f"{redis_url.rpartition('/')[0]}/6"  # its worker is for nobody else
    await watch_a_plugin_that_fails(
        await database("insights"), redis, fresh_kafka_bootstrap, tmp_path, create_topics=False
    )


@pytest.mark.timeout(300)
async def test_a_breaker_opens_tries_and_closes_on_real_parts(real_parts: RealParts, tmp_path: Path) -> None:
    await watch_a_plugin_that_fails(
        real_parts.registry_database_url,
        real_parts.redis_url,
        real_parts.kafka_bootstrap,
        tmp_path,
        create_topics=True,
    )
