"""Runs an attack behind the walls, with the worker's own pool, and looks at what it did to worker and neighbour."""

import asyncio
import json
import os
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from outlet.package import Package
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import (
    GuestCall,
    GuestKey,
    PluginInterrupted,
    RouteRequest,
    SandboxPool,
    SandboxUnavailable,
    ScopeData,
    Zygote,
    hook_payload,
    read_route_result,
    route_payload,
)
from tests.attacks import plugins, processes
from tests.attacks.attack import BURNING, Attack, Pace, Sighting, Trial, returned
from tests.attacks.grounds import ENVIRONMENT, Grounds
from tests.attacks.slipping import SlippingZygote

DEADLINE_SECONDS = 1.5
NEIGHBOUR_SECONDS = 2.0
CALLS_BEFORE = 40
CALLS_AT_LEAST = 100
CALL_EVERY_SECONDS = 0.005
LEAVE_SECONDS = 1.0
LOAD_SECONDS = 10.0
FOLLOW_UPS = 6
FAILURES = (PluginFailed, PluginInterrupted, SandboxUnavailable)
NEIGHBOUR = Attack("be a neighbour", "none", "return", returned())


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """A zygote whose worker has a secret in its environment."""
    os.environ[ENVIRONMENT] = f"environment-{secrets.token_hex(12)}"
    try:
        async with Zygote(start_deadline=60) as running:
            yield running
    finally:
        del os.environ[ENVIRONMENT]


async def run(attack: Attack, package: Package, folder: Path, running: Zygote, slowness: float) -> tuple[Trial, Pace]:
    """Attack fresh grounds from a guest that has a neighbour. Whatever the plugin starts is ended afterwards.

    ``slowness``: by how much every deadline, and the time between the neighbour's calls, is longer than usual.
    """
    beside = folder / "neighbour"
    beside.mkdir(exist_ok=True)
    peaceful = plugins.build(NEIGHBOUR, beside)
    packages = {package.digest: package.data, peaceful.digest: peaceful.data}

    async def fetch(key: GuestKey) -> bytes:
        return packages[key.digest]

    async with Grounds(os.environ[ENVIRONMENT]) as grounds:
        everything = processes.Newcomers()
        slipping = SlippingZygote(running)
        pool = SandboxPool(slipping if attack.gift else running, fetch, load_deadline=LOAD_SECONDS * slowness)
        try:
            seen, pace = await _attack(
                attack, Plugin(pool, package, slowness), Plugin(pool, peaceful, slowness), grounds, running, slipping
            )
            return Trial(attack.through(seen), seen.ending), pace
        finally:
            await pool.close()
            await slipping.close()
            await everything.gone(LEAVE_SECONDS * slowness)
            await everything.end()


class Plugin:
    """Calls to one plugin of a pool."""

    def __init__(self, pool: SandboxPool, package: Package, slowness: float) -> None:
        self.pool = pool
        self.slowness = slowness
        self._package = package
        self._key = GuestKey("acme", package.manifest.plugin_id, package.digest)
        facts = msgspec.msgpack.encode({"organization": "acme", "store": None, "config": {}})
        self._scope = ScopeData("installation-1", 1, facts)

    async def attack(self, target: dict[str, Any]) -> Any:
        """The evidence that its route returns. Raises what the pool does."""
        body = json.dumps(target).encode()
        request = RouteRequest("POST", "/attack", "", [], body, "user-1", "store-1", "cashier")
        call = GuestCall("route", "POST /attack", self._scope, route_payload(request))
        body = read_route_result(await self._invoke(call, DEADLINE_SECONDS)).body
        return json.loads(body)["evidence"] if body else None

    async def nothing(self, data: bytes = b"{}") -> str:
        """What its no-op hook answers: nothing, when all is well."""
        event = DomainEvent("event-1", "sale.created", "pos", "2026-03-01T10:00:00Z", "acme", "store-1", data)
        call = GuestCall("hook", "sale.created", self._scope, hook_payload(event))
        return (await self._invoke(call, NEIGHBOUR_SECONDS)).decode()

    async def _invoke(self, call: GuestCall, deadline: float) -> bytes:
        async def no_api(method: str, arguments: dict[str, Any]) -> None:
            return None

        wanted = self._package.manifest.limits
        return await self.pool.invoke(self._key, call, no_api, deadline=deadline * self.slowness, wanted=wanted)


async def _attack(
    attack: Attack,
    attacker: Plugin,
    neighbour: Plugin,
    grounds: Grounds,
    running: Zygote,
    slipping: SlippingZygote,
) -> tuple[Sighting, Pace]:
    await neighbour.nothing()
    before = await _pace(neighbour, until=lambda: True, at_least=CALLS_BEFORE)
    zygote_pid = running.pid
    plugin = processes.Newcomers()
    peaks = processes.Peaks()
    own = os.getpid()
    mib, descriptors = processes.mib(own), processes.descriptors(own)
    gifts: list[asyncio.Task[None]] = []
    if attack.gift:
        await attacker.nothing()  # before its package is loaded, a frame that means nothing would be an error
        gifts.append(asyncio.create_task(slipping.let_slip(grounds.held)))
    watching = asyncio.create_task(processes.watch(plugin, own, peaks, attacker.slowness))
    attacking = asyncio.create_task(_ended(attack, attacker, grounds, plugin))
    during, after, served, answer = NEIGHBOUR_SECONDS * neighbour.slowness * 1000, 0.0, True, ""
    try:
        during = await _pace(neighbour, until=attacking.done, at_least=CALLS_AT_LEAST)
        answer = await neighbour.nothing()
    except FAILURES:
        served = False
    evidence, ending, burning = await attacking
    for giving in gifts:
        giving.cancel()
    unharmed = running.pid == zygote_pid and zygote_pid is not None and processes.lives(zygote_pid)
    processes.note(plugin.find(), own, peaks)
    watching.cancel()
    if served:
        try:
            after = await _pace(neighbour, until=lambda: True, at_least=CALLS_BEFORE)
        except FAILURES:
            served = False
    await attacker.pool.close()
    sighting = Sighting(
        grounds=grounds,
        evidence=evidence,
        ending=ending,
        peaks=peaks,
        lingering=await plugin.gone(LEAVE_SECONDS * attacker.slowness),
        burning=burning,
        host_served=served and unharmed,
        neighbour_answer=answer,
        host_mib=peaks.host_mib - mib,
        host_descriptors=peaks.host_descriptors - descriptors,
    )
    return sighting, Pace(before, during, after)


async def _pace(neighbour: Plugin, until: Callable[[], bool], at_least: int) -> float:
    """The median of no-op calls in milliseconds, each counted from when it was due.

    So a worker that stands still for a second has kept two hundred calls waiting, and not one.
    """
    taken: list[float] = []
    due = time.perf_counter()
    while not until() or len(taken) < at_least:
        await neighbour.nothing()
        taken.append((time.perf_counter() - due) * 1000)
        due += CALL_EVERY_SECONDS * neighbour.slowness
        await asyncio.sleep(due - time.perf_counter())
    return statistics.median(taken)


async def _ended(
    attack: Attack, attacker: Plugin, grounds: Grounds, plugin: processes.Newcomers
) -> tuple[Any, str, bool]:
    """The evidence, how the call ended, and whether the plugin burned on."""
    evidence, ending = None, "answered"
    more = [
        asyncio.create_task(_followed(attacker, attack.follow_up)) for _ in range(FOLLOW_UPS if attack.follow_up else 0)
    ]
    try:
        evidence = await attacker.attack(grounds.target)
    except FAILURES as error:
        ending = _in_short(error)
    await asyncio.gather(*more)
    if not attack.hold:
        return evidence, ending, False
    await asyncio.sleep(attack.hold)
    return evidence, ending, await plugin.burn(0.5) > BURNING


async def _followed(attacker: Plugin, size: int) -> None:
    try:
        await attacker.nothing(b'"' + b"x" * size + b'"')
    except FAILURES:
        return


def _in_short(error: Exception) -> str:
    if not isinstance(error, PluginFailed):
        return type(error).__name__
    return f"{error.code}: {error.message.splitlines()[0]}" if error.message else error.code
