"""A rolling restart of three workers with lasting names while sales flow: nothing lost, nothing twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from outlet.local.client import GatewayClient
from outlet.local.scenario import CONSUMER_GROUP, set_up, settled_points, trade
from outlet.local.stack import Stack
from outlet.local.waiting import until, until_consumed
from outlet.package import Package
from outlet.samples import expected_points, points_of
from outlet.samples.records import record
from services.runtime.isolation import act_as_platform
from tests.e2e.pauses import Flow
from tests.e2e.support import Caller, environment, until_ready
from tests.e2e.topics import until_group_has
from tests.support.real import RealParts

WORKERS = 3
RATE = 60.0
MOST_SALES = 4_000
SESSION_SECONDS = 60.0
"""Longer than a worker takes to stop and to start, on a slow machine too."""

pytestmark = pytest.mark.timeout(180)

_MOVEMENTS = (
    'SELECT sale_id, count(*) FROM plugin_data."loyalty_points__transactions" WHERE installation_id = $1 GROUP BY 1'
)


@pytest.fixture(scope="module")
async def platform(real_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The services on real parts, with three workers that Kafka knows by name."""
    settings = {"OUTLET_WORKER_INSTANCE": "rolling", "OUTLET_SESSION_TIMEOUT": str(SESSION_SECONDS)}
    environ = environment(real_parts.environment() | settings)
    async with Stack(tmp_path_factory.mktemp("platform"), environ=environ, workers=WORKERS) as stack:
        yield stack


async def test_rolling_restart_under_traffic_loses_nothing_and_repeats_nothing(
    platform: Stack, loyalty: Package
) -> None:
    business = trade("rolling", count=MOST_SALES, redelivered=0, seed=14)
    tickets = [ticket for ticket in business.tickets if points_of(ticket)]
    async with (
        GatewayClient(platform.gateway_url, platform.issuer.token, business.organization) as client,
        Caller(platform, business.organization) as caller,
    ):
        installation = await set_up(client, loyalty.data, business.stores)
        await until_group_has(platform.bootstrap, WORKERS)
        flow = Flow(platform, installation, RATE)

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(
                flow.send([record("sale", ticket, organization=business.organization) for ticket in tickets])
            )
            tasks.create_task(flow.watch())
            for worker in range(WORKERS):
                await restart(platform, worker)
                await until_group_has(platform.bootstrap, WORKERS)
            assert not sending.done(), "too few sales for the whole restart"
            flow.stopped = True
        sent = tickets[: sending.result()]
        print(_figures(flow, len(sent)))  # noqa: T201 - the figures of the run, shown by pytest -s

        await until_consumed(platform.bootstrap, CONSUMER_GROUP, flow.positions, within=60)
        assert await movements(platform, installation) == {str(ticket["id"]): 1 for ticket in sent}
        expected = dict.fromkeys(business.expected, 0) | expected_points(sent)
        assert await settled_points(client, expected, business.stores) == expected
        # Each sale is one run: had a worker left one uncommitted, it would have come and been counted again.
        await until(counted(caller, installation, len(sent)), within=15, what="every run is counted")
        assert flow.longest_pause < SESSION_SECONDS


def _figures(flow: Flow, sent: int) -> str:
    latencies = flow.latencies
    return (
        f"ROLLING {sent} sales; longest pause of a partition {flow.longest_pause:.1f} s, longest from sale to effect "
        f"{latencies[-1]:.1f} s, p99 {latencies[len(latencies) * 99 // 100]:.2f} s, "
        f"median {latencies[len(latencies) // 2]:.2f} s, "
        f"{sum(taken > 1 for taken in latencies) / len(latencies):.1%} took more than a second"
    )


async def movements(stack: Stack, installation: str) -> dict[str, int]:
    """How often each sale moved points, as the database has it."""
    connection = await asyncpg.connect(stack.database_urls["runtime"])
    try:
        async with connection.transaction():
            await act_as_platform(connection)
            return {row["sale_id"]: row["count"] for row in await connection.fetch(_MOVEMENTS, installation)}
    finally:
        await connection.close()


async def restart(stack: Stack, worker: int) -> None:
    """Ask a worker to stop, as Kubernetes does, and wait for its successor."""
    pid = stack.pids["runtime"][worker]
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    async def ended() -> bool:
        return stack.pids["runtime"][worker] != pid

    await until(ended, within=20, what=f"worker {worker} has ended")
    await until_ready(stack, "runtime", worker)


def counted(caller: Caller, installation: str, runs: int) -> Callable[[], Awaitable[bool]]:
    """Whether the statistics count so many runs of hooks; more must never be."""

    async def as_many() -> bool:
        found = (await caller.ask("GET", f"/api/plugins/{installation}/stats")).json()["hookRuns"]
        assert found <= runs
        return bool(found == runs)

    return as_many
