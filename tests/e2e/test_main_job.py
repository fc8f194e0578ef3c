"""The main job on real Kafka, PostgreSQL and Redis, with two workers in one group and deaths in between.

The journey is the demo's: every customer's points are compared with points worked out from the tickets alone, some are
redeemed, components are asked for, and a sale after the deactivation awards nothing.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from outlet.local.journey import Journey, Outcome, Platform
from outlet.local.scenario import PLUGIN_ID, Trade, trade
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package
from outlet.samples import points_of
from services.common.events import read_event
from services.common.topics import PLUGIN_EVENTS
from tests.e2e.support import Caller, environment, until_committed, until_ready, zygotes
from tests.e2e.topics import read_topic, until_group_has
from tests.support.real import RealParts

SALES = 2_000
WORKERS = 2
KILLS = 3
SEED = 7
AWARDS = (f"{PLUGIN_ID}/points-earned", f"{PLUGIN_ID}/points-reversed")

Sabotage = Callable[[Stack, str, Trade], Coroutine[None, None, None]]
"""Does its harm to a platform that is at work on the trade of the installation with this id."""

pytestmark = pytest.mark.timeout(180)  # Kafka gives a dead worker's partitions to the others after 10 s


@pytest.fixture(scope="module")
async def platform(real_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The services on real parts, with two workers."""
    directory = tmp_path_factory.mktemp("platform")
    async with Stack(directory, environ=environment(real_parts.environment()), workers=WORKERS) as stack:
        yield stack


def earning(business: Trade) -> int:
    """How many tickets move points: so many hooks have an effect."""
    return sum(1 for ticket in business.tickets if points_of(ticket))


async def journey(stack: Stack, loyalty: Package, organization: str, sabotage: Sabotage, *, seed: int) -> Outcome:
    """The whole journey of one organization, and the harm done meanwhile."""
    await until_group_has(stack.bootstrap, WORKERS)
    business = trade(organization, count=SALES, seed=seed)
    platform = Platform(stack.gateway_url, stack.bootstrap, stack.issuer.token)
    said: list[str] = []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(Journey(platform, loyalty, business, said.append).run())
        group.create_task(sabotage(stack, await installed(stack, organization), business))
    outcome = running.result()
    assert outcome.differences == (), said
    assert outcome.points_awarded == outcome.points_expected > 0
    await assert_each_award_told_once(stack, business)
    return outcome


async def installed(stack: Stack, organization: str) -> str:
    """Wait until the journey has installed the plugin; the installation's id."""
    found: list[str] = []
    async with Caller(stack, organization) as caller:

        async def exists() -> bool:
            answer = await caller.ask("GET", "/api/plugins", params={"pluginId": PLUGIN_ID})
            found[:] = [item["id"] for item in answer.json()["items"]]
            return bool(found)

        await until(exists, within=30, what=f"{PLUGIN_ID} is installed for {organization}")
    return found[0]


async def assert_each_award_told_once(stack: Stack, business: Trade) -> None:
    """What the plugin emitted left through the outbox: an event for each ticket that moved points, under one id."""
    told: dict[str, set[str]] = {}
    for record in await read_topic(stack.bootstrap, PLUGIN_EVENTS.name):
        event = read_event(record.headers, record.value)
        if event.organization == business.organization and event.type in AWARDS:
            told.setdefault(json.loads(event.data)["saleId"], set()).add(event.id)
    assert told.keys() == {ticket["id"] for ticket in business.tickets if points_of(ticket)}
    assert {len(ids) for ids in told.values()} == {1}


async def until_at_work(stack: Stack, installation: str, business: Trade, share: float) -> None:
    """Wait until this share of the sales has its effect, and make sure that others have not."""
    whole = earning(business)
    assert await until_committed(stack, installation, round(whole * share)) < whole, "too late to do any harm"


async def test_points_are_exact_when_a_worker_is_killed_in_the_middle(platform: Stack, loyalty: Package) -> None:
    async def kill_one(stack: Stack, installation: str, business: Trade) -> None:
        await until_at_work(stack, installation, business, share=0.3)
        stack.kill("runtime", 0)

    outcome = await journey(platform, loyalty, "main-job-killed-once", kill_one, seed=11)
    assert outcome.points_redeemed > 0
    assert (outcome.route_status, outcome.overdraw_status, outcome.inactive_route_status) == (200, 409, 409)
    assert outcome.components == 1
    assert outcome.points_awarded_while_inactive == 0


async def test_points_are_exact_when_workers_are_killed_again_and_again(platform: Stack, loyalty: Package) -> None:
    rng = random.Random(SEED)  # noqa: S311 - repeatable, not secret

    async def kill_at_random(stack: Stack, installation: str, business: Trade) -> None:
        for share in sorted(rng.uniform(0.05, 0.8) for _ in range(KILLS)):
            await until_at_work(stack, installation, business, share)
            worker = rng.randrange(WORKERS)
            await until_ready(stack, "runtime", worker)
            stack.kill("runtime", worker)

    await journey(platform, loyalty, "main-job-killed-often", kill_at_random, seed=12)


async def test_points_are_exact_when_the_zygotes_are_killed(platform: Stack, loyalty: Package) -> None:
    workers: list[int] = []

    async def kill_zygotes(stack: Stack, installation: str, business: Trade) -> None:
        await until_at_work(stack, installation, business, share=0.3)
        workers.extend(pid for pid in stack.pids["runtime"] if pid is not None)
        found = [zygote for worker in workers for zygote in zygotes(worker)]
        assert len(found) == WORKERS
        for zygote in found:
            zygote.kill()

    await journey(platform, loyalty, "main-job-zygotes-killed", kill_zygotes, seed=13)
    assert list(platform.pids["runtime"]) == workers, "a worker outlives its zygote"
