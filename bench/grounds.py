"""What all contenders of a run share: one broker, one PostgreSQL, one Redis, the packages of the plugins."""

import asyncio
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.broker import Broker, open_broker
from bench.contender import Contender, running
from bench.contenders import peer_hooks
from bench.contenders.task import Task
from bench.databases import Databases, open_databases
from bench.feed import Feed
from bench.installations import installed, publish
from bench.lineup import OUTLET, Kind
from bench.packages import serving
from bench.parts import HANGING_PLUGIN, LOYALTY_PLUGIN, PLUGIN, built_plugin
from bench.workload import LOYALTY, NO_OP, Workload
from outlet.local.network import LOOPBACK, free_ports
from outlet.local.valkey import Valkey
from outlet.package import Package
from services.common.database import migrate
from services.common.directory import Installation
from services.common.runtime_client import LifecycleHook, RuntimeClient
from services.common.workers import Worker
from services.runtime.models import MIGRATIONS

TEMPLATE = "outlet"
INSTALL_SECONDS = 30.0
PATIENCE_SECONDS = 120.0
WARM_UP_EVENTS = 50_000
UNLIMITED = "1000000000"
"""API calls per minute of one installation: its rate limit is not what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """The packages that are installed."""

    no_op: Package
    hanging: Package
    loyalty: Package


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A contender that has joined its group, and the database it works on (empty: none)."""

    contender: Contender
    dsn: str


class Grounds:
    """``say`` tells of progress."""

    def __init__(
        self,
        broker: Broker,
        databases: Databases,
        plugins: Plugins,
        environment: Mapping[str, str],
        directory: Path,
        say: Callable[[str], None],
    ) -> None:
        self.broker = broker
        self.databases = databases
        self.plugins = plugins
        self.feed = Feed(broker.bootstrap)
        self.say = say
        self._environment = environment
        self._log = directory / "contenders.log"
        self._numbers = count(1)

    async def prepare(self) -> None:
        """Make the database that every worker gets a copy of: with its tables, and those of the loyalty plugin."""
        dsn = await self.databases.create(TEMPLATE)
        await migrate(dsn, MIGRATIONS)
        loyalty = installed(self.plugins.loyalty)
        directory = await publish(self.broker, [loyalty])
        (port,) = free_ports(1)
        task = await self._task(LOYALTY, directory, dsn)
        environment = self._worker_environment(task, {"OUTLET_RUNTIME_PORT": str(port)})
        async with running(OUTLET.module, [(task, environment)], self._log) as members:
            await Contender(OUTLET.name, members, LOYALTY, PATIENCE_SECONDS).assigned(self.broker.partitions)
            await _install(loyalty, f"{LOOPBACK}:{port}")

    async def warm_up(self) -> None:
        """Let the broker's machine code be made before anybody depends on it."""
        events = self.broker.bounded(WARM_UP_EVENTS)
        await asyncio.to_thread(self.feed.burst, NO_OP, NO_OP.documents(events))

    async def directory_of(self, workload: Workload) -> str:
        """The directory in which the workload's plugin is installed and nothing else."""
        plugin = self.plugins.no_op if workload.name == "no-op" else self.plugins.loyalty
        return await publish(self.broker, [installed(plugin)])

    @asynccontextmanager
    async def peer(self, kind: Kind, workload: Workload) -> AsyncIterator[Stage]:
        """A peer, ready for its first event."""
        async with AsyncExitStack() as stack:
            dsn = ""
            if workload.name == "loyalty":
                dsn = await stack.enter_async_context(self.databases.fresh())
                await peer_hooks.create_tables(dsn)
            task = await self._task(workload, "", dsn, kind.concurrency)
            members = await stack.enter_async_context(running(kind.module, [(task, _environment())], self._log))
            contender = Contender(kind.name, members, workload, PATIENCE_SECONDS)
            await contender.assigned(self.broker.partitions)
            yield Stage(contender=contender, dsn=dsn)

    @asynccontextmanager
    async def outlet(self, workload: Workload, directory: str, *, workers: int = 1) -> AsyncIterator[Stage]:
        """So many workers of Outlet with the installations of ``directory``, ready for their first event."""
        async with self.databases.fresh(TEMPLATE) as dsn:
            task = await self._task(workload, directory, dsn)
            tasks = [(task, self._worker_environment(task)) for _ in range(workers)]
            async with running(OUTLET.module, tasks, self._log) as members:
                contender = Contender(OUTLET.name, members, workload, PATIENCE_SECONDS)
                await contender.assigned(self.broker.partitions)
                yield Stage(contender=contender, dsn=dsn)

    async def _task(self, workload: Workload, directory: str, dsn: str, concurrency: int = 1) -> Task:
        group = f"bench.{next(self._numbers)}"
        await self.broker.begin_group(group)
        return Task(
            bootstrap=self.broker.bootstrap,
            group=group,
            topic=workload.topic,
            event=workload.event,
            workload=workload.name,
            dsn=dsn,
            concurrency=concurrency,
            directory=directory,
            plugin=workload.plugin,
        )

    def _worker_environment(self, task: Task, own: Mapping[str, str] | None = None) -> dict[str, str]:
        ports = free_ports(2)
        return {
            **self._environment,
            "OUTLET_RUNTIME_DATABASE_URL": task.dsn,
            "OUTLET_RUNTIME_PORT": str(ports[0]),
            "OUTLET_RUNTIME_METRICS_PORT": str(ports[1]),
            "OUTLET_WORKER_ID": f"{task.group}-{ports[0]}",
            **(own or {}),
        }


@asynccontextmanager
async def ground(directory: Path, say: Callable[[str], None], *, embedded: bool = False) -> AsyncIterator[Grounds]:
    """Start everything with its data below ``directory``; ends it afterwards. ``embedded``: no real Kafka."""
    plugins = Plugins(
        no_op=built_plugin(PLUGIN), hanging=built_plugin(HANGING_PLUGIN), loyalty=built_plugin(LOYALTY_PLUGIN)
    )
    async with AsyncExitStack() as stack:
        registry = stack.enter_context(serving([plugins.no_op, plugins.hanging, plugins.loyalty]))
        broker = await stack.enter_async_context(open_broker(directory, embedded=embedded))
        databases = await stack.enter_async_context(open_databases(directory))
        valkey = Valkey(directory / "valkey")
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        environment = _environment() | {
            "OUTLET_ENVIRONMENT": "development",
            "OUTLET_LOG_LEVEL": "warning",
            "OUTLET_KAFKA_BOOTSTRAP": broker.bootstrap,
            "OUTLET_REDIS_URL": valkey.url,
            "OUTLET_REGISTRY_URL": registry,
            "OUTLET_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
            "OUTLET_SESSION_TIMEOUT": "30",  # it is stopped while events are put on Kafka
            "OUTLET_API_CALLS_BURST": UNLIMITED,
            "OUTLET_API_CALLS_PER_MINUTE": UNLIMITED,
        }
        grounds = Grounds(broker, databases, plugins, environment, directory, say)
        stack.callback(grounds.feed.close)
        await grounds.prepare()
        await grounds.warm_up()
        yield grounds


class _OneWorker:
    def __init__(self, address: str) -> None:
        self._worker = Worker(id="bench", address=address, directory_revision=1)

    async def live(self) -> list[Worker]:
        return [self._worker]


async def _install(installation: Installation, address: str) -> None:
    client = RuntimeClient(_OneWorker(address))
    try:
        await client.run_lifecycle_hook(
            installation, LifecycleHook.ON_INSTALL, operation_id="install", deadline=INSTALL_SECONDS
        )
    finally:
        await client.close()


def _environment() -> dict[str, str]:
    """This process's environment without the settings of a platform that its owner may run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
