"""Services that die, stop or are away: nothing is lost, nothing is half done, and the supervisor brings them back."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.keeper import Report
from outlet.local.scenario import PLUGIN_ID
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package
from outlet.samples import points_of
from outlet.samples.records import record
from services.common.outbox import RELAY_LOCK
from tests.e2e.support import Caller, assert_problem, environment, until_ready

STORE = "store-1"


@dataclass(frozen=True)
class Platform:
    """A platform of one's own, and what its supervisor said of it."""

    stack: Stack
    reports: list[Report] = field(default_factory=list)

    def client(self, organization: str) -> GatewayClient:
        return GatewayClient(self.stack.gateway_url, self.stack.issuer.token, organization)


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Platform]:
    """A platform on the embedded parts, with its data in ``directory``."""
    reports: list[Report] = []
    async with Stack(directory, environ=environment(), durable=False, report=reports.append) as stack:
        yield Platform(stack, reports)


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Shared: a test brings back what it took away."""
    async with running(tmp_path_factory.mktemp("platform")) as started:
        yield started


async def state(caller: Caller, installation: str) -> dict[str, Any]:
    """What an owner sees of an installation, but for its statistics and for who follows it."""
    details = await caller.read(installation)
    return {name: value for name, value in details.items() if name not in ("revision", "rollout", "stats")}


async def test_lifecycle_call_without_a_worker_changes_nothing_and_the_next_try_works(
    platform: Platform, loyalty: Package
) -> None:
    stack = platform.stack
    async with platform.client("workerless") as client, Caller(stack, "workerless") as caller:
        await client.publish(loyalty.data)
        installation = (await client.install(PLUGIN_ID))["id"]
        before = await state(caller, installation)

        await stack.stop_service("runtime")
        try:
            place = f"/api/plugins/{installation}"
            for method, path in (("POST", f"{place}/activate"), ("DELETE", place)):
                assert_problem(await caller.ask(method, path), 503, "no_worker")
                assert await state(caller, installation) == before
            async with Caller(stack, "workerless-too") as newcomer:
                answer = await newcomer.ask("POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID})
                assert_problem(answer, 503, "no_worker")
                assert (await newcomer.ask("GET", "/api/plugins")).json()["items"] == []
        finally:
            await stack.start_service("runtime")

        await scenario.switch(client, installation, [STORE], active=True)


@asynccontextmanager
async def nothing_published(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """The registry commits, and its relay waits; gives a connection to the registry's database."""
    connection = await asyncpg.connect(stack.database_urls["registry"])
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", RELAY_LOCK)
        yield connection
    finally:
        await connection.close()


async def test_state_arrives_although_the_registry_died_between_commit_and_publish(
    platform: Platform, loyalty: Package
) -> None:
    stack = platform.stack
    async with platform.client("half-said") as client:
        await client.publish(loyalty.data)
        installation = (await client.install(PLUGIN_ID))["id"]
        await scenario.rolled_out(client, installation, "inactive")

        async with nothing_published(stack) as database:
            assert (await client.activate(installation))["status"] == "active"
            assert await database.fetchval("SELECT count(*) FROM outbox") == 1
            assert (await client.installation(installation))["rollout"].items() >= {"workers": 1, "live": 0}.items()
            stack.kill("registry")

        await until_ready(stack, "registry")
        await scenario.rolled_out(client, installation, "active")
        await until(answering(client, 200), within=15, what="the gateway knows that the plugin is active")


def answering(client: GatewayClient, status: int) -> Callable[[], Awaitable[bool]]:
    """Whether the plugin's route answers with this status now."""

    async def answers() -> bool:
        return (await client.route("GET", PLUGIN_ID, "/points/nobody", store=STORE)).status_code == status

    return answers


async def test_gateway_that_was_killed_is_started_again(platform: Platform, loyalty: Package) -> None:
    stack = platform.stack
    async with platform.client("gatewayless") as client:
        await scenario.set_up(client, loyalty.data, [STORE])

        killed = stack.kill("gateway")
        await until_ready(stack, "gateway")

        assert stack.pids["gateway"] not in ([killed], [None])
        assert [report.detail for report in platform.reports if (report.part, report.state) == ("gateway", "died")] == [
            f"status {-signal.SIGKILL}"
        ]
        assert await scenario.balance(client, "nobody", STORE) == 0
        assert len(await scenario.components(client, STORE)) == 1


async def test_installations_and_points_outlive_a_restart_of_everything(tmp_path: Path, loyalty: Package) -> None:
    business = scenario.trade("restarted", count=60, customers=10, redelivered=5)
    async with running(tmp_path) as platform, platform.client(business.organization) as client:
        installation = await scenario.set_up(client, loyalty.data, business.stores)
        await scenario.deliver(platform.stack.bootstrap, business.stream)

    async with running(tmp_path) as platform, platform.client(business.organization) as client:
        # The embedded broker came back without a topic: what follows is what the registry published again.
        await scenario.rolled_out(client, installation, "active")
        await until(answering(client, 200), within=15, what="the gateway knows that the plugin is active")
        assert await scenario.read_points(client, business.expected, business.stores) == business.expected
        assert len(await scenario.components(client, STORE)) == 1

        await scenario.deliver(platform.stack.bootstrap, business.late)
        assert await scenario.read_points(client, business.expected, business.stores) == business.expected
        further = record("sale", business.further, organization=business.organization)
        await scenario.deliver(platform.stack.bootstrap, [further])
        customer = str(business.further["customerId"])
        awarded = await scenario.balance(client, customer, STORE) - business.expected[customer]
        assert awarded == points_of(business.further) > 0
