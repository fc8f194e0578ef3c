"""The platform under attack: real Kafka, PostgreSQL and Redis, and the workers of one group, each watched over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from deploy.local import Kafka, Postgres, Redis
from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.keeper import Reporter
from outlet.local.stack import Stack
from outlet.local.together import together
from outlet.package import build
from tests.chaos import plugins
from tests.chaos.receiver import Told, listening
from tests.chaos.scale import Scale
from tests.chaos.shifted_worker import ShiftedWorker
from tests.e2e.support import Caller, environment
from tests.e2e.topics import until_group_has
from tests.support.certificates import private_authority

LOYALTY = Path(__file__).parents[2] / "plugins" / "loyalty_points"
ORGANIZATION = "chaos"
BYSTANDER = "chaos-bystander"
"""An organization that sells nothing; its settings are changed while the registry dies."""
PARTITIONS = 6


@dataclass
class Grounds:
    """All that a fault can strike, and all that is looked at afterwards."""

    kafka: Kafka
    postgres: Postgres
    redis: Redis
    stack: Stack
    shifted: ShiftedWorker
    told: Told
    client: GatewayClient
    bystander: Caller
    logs: Path
    session_timeout: float
    group_size: int
    """How many workers there are when none is dead."""
    installations: dict[str, str] = field(default_factory=dict)
    """Ids of installations by plugin; that of the bystander under its organization's name."""
    settings: list[int] = field(default_factory=list)
    """The bystander's settings that were acknowledged."""
    scheduled_since: datetime = field(default_factory=partial(datetime.now, UTC))

    async def until_workers_share(self) -> None:
        """Wait until all workers are in the group, and the group is settled."""
        await until_group_has(self.kafka.bootstrap, self.group_size)

    def workers(self) -> dict[str, int]:
        """The pids of the workers that run now, by name."""
        found = {f"worker {number + 1}": pid for number, pid in enumerate(self.stack.pids["runtime"])}
        found["worker with the clock"] = self.shifted.pid
        return {name: pid for name, pid in found.items() if pid is not None}


@asynccontextmanager
async def ground(directory: Path, scale: Scale, report: Reporter, *, static: bool = False) -> AsyncIterator[Grounds]:
    """Start everything with its data below ``directory``, with the plugins at work; ends it afterwards.

    ``static``: Kafka knows the workers by lasting names.
    """
    async with AsyncExitStack() as running:
        kafka, redis = Kafka(directory / "kafka"), Redis(directory / "redis")
        # The machine does not lose power here: what reached the kernel survives the death of every process.
        postgres = Postgres(directory / "postgres", {"fsync": "off"})
        for part in (kafka, postgres, redis):
            running.push_async_callback(part.stop)
        await together(kafka.start(), postgres.start(), redis.start())
        authority, tls = private_authority(directory, plugins.HOST)
        told = await running.enter_async_context(listening(tls))
        environ = environment() | {
            "OUTLET_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "OUTLET_REGISTRY_DATABASE_URL": await postgres.create_database("outlet_registry"),
            "OUTLET_RUNTIME_DATABASE_URL": await postgres.create_database("outlet_runtime"),
            "OUTLET_REDIS_URL": redis.url,
            "OUTLET_KAFKA_PARTITIONS": str(PARTITIONS),
            "OUTLET_SESSION_TIMEOUT": str(scale.session_timeout),
            # A hook whose process is killed fails, and is tried again: soon, or a small run would wait for it.
            "OUTLET_HOOK_FIRST_PAUSE": "0.5",
            "OUTLET_HOOK_LONGEST_PAUSE": "10",
            "OUTLET_FETCHES_PER_MINUTE": "100000",
            "OUTLET_OUTBOUND_ALLOWED": "127.0.0.0/8, ::1/128",
            "OUTLET_OUTBOUND_CA_FILE": str(authority),
        }
        if static:
            environ["OUTLET_WORKER_INSTANCE"] = "worker"
        stack = Stack(directory / "platform", environ=environ, workers=scale.workers, report=report)
        running.push_async_callback(stack.stop)
        await stack.start()
        shifted = ShiftedWorker(stack, environ, report)
        running.push_async_callback(shifted.stop)
        await shifted.start()
        client = GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION)
        grounds = Grounds(
            kafka=kafka,
            postgres=postgres,
            redis=redis,
            stack=stack,
            shifted=shifted,
            told=told,
            client=await running.enter_async_context(client),
            bystander=await running.enter_async_context(Caller(stack, BYSTANDER)),
            logs=stack.logs,
            session_timeout=scale.session_timeout,
            group_size=scale.workers + 1,
        )
        await _set_up(grounds, directory)
        yield grounds


async def _set_up(grounds: Grounds, directory: Path) -> None:
    sources = directory / "plugins"
    caller, failing = await asyncio.gather(
        asyncio.to_thread(plugins.caller, sources), asyncio.to_thread(plugins.failing, sources)
    )
    for package in (build(LOYALTY), caller, failing):
        await grounds.client.publish(package.data)
    url = f"https://{plugins.HOST}:{grounds.told.port}/sales"
    for plugin_id, config in ((scenario.PLUGIN_ID, {}), (plugins.CALLER, {"url": url}), (plugins.FAILING, {})):
        installation = str((await grounds.client.install(plugin_id, dict(config)))["id"])
        grounds.installations[plugin_id] = installation
        grounds.scheduled_since = datetime.now(UTC)
        await grounds.client.activate(installation)
    answer = await grounds.bystander.ask("POST", "/api/plugins/install", json={"pluginId": scenario.PLUGIN_ID})
    grounds.installations[BYSTANDER] = answer.json()["id"]
    for plugin_id in (scenario.PLUGIN_ID, plugins.CALLER, plugins.FAILING):
        await scenario.rolled_out(grounds.client, grounds.installations[plugin_id], "active")
    await grounds.until_workers_share()
