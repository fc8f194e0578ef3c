"""Every change of state reaches the topic of installations, whatever dies in between."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from outlet.local.issuer import Issuer
from outlet.local.network import free_port
from services.common.directory import REVISION_HEADER, Installation, encode_installation
from services.common.outbox import RELAY_LOCK
from services.common.topics import INSTALLATIONS
from tests.registry.platform import Client, LocalRegistry, Registry, environment, running_registry
from tests.registry.topic import following
from tests.registry.worker import FAILS, FakeWorker

STOP_SECONDS = 5

Database = Callable[[str], Awaitable[str]]


@asynccontextmanager
async def relay_held(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Nobody publishes from the outbox meanwhile: the moment between commit and publish, as long as a test needs."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT pg_advisory_lock($1)", RELAY_LOCK)
    try:
        yield connection
    finally:
        await connection.close()


async def test_every_state_of_a_life_is_announced_in_order(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installed = await owner.install(plugin_id, config={"rate": 4}, storeId="s1")
    path = f"/{installed['id']}"
    await owner.post(f"{path}/activate")
    await owner.put(f"{path}/config", {"config": {"rate": 5}})
    worker.behaviour = FAILS
    await owner.post(f"{path}/deactivate")
    await owner.delete(path, force=True)
    async with following(registry_bootstrap) as topic:
        last = await topic.until(lambda record: record.key == installed["id"] and record.installation is None)
        assert topic.statuses(installed["id"]) == [
            "installing", "inactive", "active", "active", "error", "uninstalling", None,
        ]  # fmt: skip
        own = [record for record in topic.seen if record.key == installed["id"]]
    assert last.revision == own[-1].revision
    inactive = own[1].installation
    assert inactive is not None
    assert (inactive.revision, inactive.store_id) == (installed["revision"], "s1")
    assert inactive.config == {"rate": 4}
    assert inactive.digest.startswith("sha256:")
    assert inactive.manifest.hooks[0].event == "sale.created"


async def test_revisions_grow_along_the_topic_under_concurrent_changes(
    registry: Registry, worker: FakeWorker, registry_bootstrap: str
) -> None:
    plugins = [await registry.publish() for _ in range(6)]
    owners = [registry.caller("owner") for _ in range(4)]
    installed = await asyncio.gather(*(owner.install(plugin) for owner in owners for plugin in plugins))
    last = max(document["revision"] for document in installed)
    async with following(registry_bootstrap) as topic:
        await topic.until(lambda record: record.revision == last)
        # A registry that starts publishes anew what the embedded broker has forgotten of other tests' installations.
        own = {document["id"] for document in installed}
        revisions = [record.revision for record in topic.seen if record.key in own]
    assert revisions == sorted(set(revisions))


async def test_an_installation_that_reached_no_worker_is_taken_back(
    owner: Client, plugin_id: str, registry_bootstrap: str
) -> None:
    assert (await owner.try_install(plugin_id)).status_code == 503
    async with following(registry_bootstrap) as topic:
        first = await topic.until(
            lambda record: record.installation is not None and record.installation.plugin_id == plugin_id
        )
        await topic.until(lambda record: record.key == first.key and record.installation is None)


async def test_changes_are_kept_while_nothing_can_be_published(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    async with following(registry_bootstrap) as topic:
        async with relay_held(registry.settings.registry_database_url) as connection:
            installed = await owner.install(plugin_id)
            assert await connection.fetchval("SELECT count(*) FROM outbox WHERE key = $1", installed["id"]) == 2
            assert installed["id"] not in {record.key for record in await topic.to_end()}
        await topic.until(lambda record: record.key == installed["id"] and record.status == "inactive")


async def test_an_empty_topic_is_filled_before_the_registry_is_ready(
    database: Database, workers_url: str, worker: FakeWorker, kafka_brokers: list[str], tmp_path: Path
) -> None:
    dsn, (first, second) = await database("republish"), kafka_brokers
    async with running_registry(dsn, workers_url, first, tmp_path / "keys") as registry:
        owner = registry.caller("owner")
        kept = [await owner.install(await registry.publish()) for _ in range(3)]
        gone = await owner.install(await registry.publish())
        await owner.delete(f"/{gone['id']}")
        async with following(first) as topic:
            await topic.until(lambda record: record.key == gone["id"] and record.installation is None)
    async with running_registry(dsn, workers_url, second, tmp_path / "keys"), following(second) as topic:
        announced = await topic.to_end()
    assert [(record.key, record.revision) for record in announced] == [
        (document["id"], document["revision"]) for document in kept
    ]


async def test_a_topic_that_holds_everything_is_left_alone_and_strangers_are_retracted(
    database: Database, workers_url: str, worker: FakeWorker, kafka_brokers: list[str], tmp_path: Path
) -> None:
    dsn, bootstrap = await database("reconcile"), kafka_brokers[0]
    async with running_registry(dsn, workers_url, bootstrap, tmp_path / "keys") as registry:
        owner = registry.caller("owner")
        installed = await owner.install(await registry.publish())
        async with following(bootstrap) as topic:
            known = await topic.until(lambda record: record.status == "inactive")
    stranger = str(uuid4())
    assert known.installation is not None
    await produce(bootstrap, stranger, known.installation)
    async with running_registry(dsn, workers_url, bootstrap, tmp_path / "keys"), following(bootstrap) as topic:
        announced = await topic.to_end()
        assert topic.statuses(installed["id"]) == ["installing", "inactive"]
        assert topic.statuses(stranger) == ["inactive", None]
    assert announced[-1].key == stranger


async def produce(bootstrap: str, installation_id: str, like: Installation) -> None:
    """An installation on the topic that the database does not have."""
    value = encode_installation(msgspec.structs.replace(like, id=installation_id))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(
            INSTALLATIONS.name, value, installation_id.encode(), partition=0, headers=[(REVISION_HEADER, b"1")]
        )
    finally:
        await producer.stop()


class Process:
    """A registry in a process of its own."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.url = f"http://127.0.0.1:{settings['registry_port']}"
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        variables = {f"OUTLET_{name.upper()}": str(value) for name, value in self._settings.items()}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.registry", env=os.environ | variables, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while not await self._ready(http):
                assert self._process.returncode is None
                await asyncio.sleep(0.05)

    async def _ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get(f"{self.url}/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def end(self, how: signal.Signals) -> int:
        """Send a signal, and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(how)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise


@pytest.mark.timeout(120)
async def test_a_registry_killed_between_commit_and_publish_publishes_when_it_is_back(
    database: Database, workers_url: str, worker: FakeWorker, kafka_brokers: list[str], tmp_path: Path
) -> None:
    dsn, bootstrap = await database("killed"), kafka_brokers[0]
    issuer = Issuer.create(tmp_path / "keys")
    process = Process(environment(dsn, workers_url, bootstrap, issuer) | {"registry_port": free_port()})
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=process.url, timeout=30) as http, following(bootstrap) as topic:
            remote = Registry(http, issuer)
            owner = remote.caller("owner")
            plugin_id = await remote.publish()
            async with relay_held(dsn):
                installed = await owner.install(plugin_id)
                assert await process.end(signal.SIGKILL) == -signal.SIGKILL
                assert await topic.to_end() == []
            await process.start()
            await topic.to_end()
            assert topic.statuses(installed["id"]) == ["installing", "inactive"]
            assert (await owner.read(installed["id"]))["status"] == "inactive"
    finally:
        stopped = await process.end(signal.SIGTERM)
    assert stopped == -signal.SIGTERM  # after a graceful stop the server ends by the signal it was sent
