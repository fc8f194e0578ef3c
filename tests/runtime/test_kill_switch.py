"""What a worker does as soon as its directory says that a version is revoked: with real guests and a real ledger."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import msgspec
import psutil
import pytest

from services.common.directory import Directory, Installation
from services.common.runtime_client import PlatformRefusal
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures, RetryPolicy
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.retries import RetryRunner
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.kill_switch import KillSwitch
from services.runtime.sandbox import GuestKey, RouteRequest, SandboxPool, Zygote, route_payload
from tests.runtime.delivery.test_dispatch import Notes, arrival
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.sandbox import plugins

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

SOURCE = """
@plugin.hook("sale.created")
async def heard(api: Api, event: Event) -> None:
    await api.emit("heard", {"number": event.data["number"]})
    if api.get_config("hang"):
        await asyncio.sleep(3_600)

@plugin.route("GET", "/hang")
async def hang(api: Api, request: Request) -> dict:
    await api.emit("asked", {})
    await asyncio.sleep(3_600)
"""


class Begun(Notes):
    """Also tells when a plugin has made an API call, and so runs."""

    def __init__(self) -> None:
        super().__init__()
        self.running = asyncio.Event()

    def api_called(self, _: Installation) -> None:
        self.running.set()


class Worker:
    """A worker as it is, but for Kafka."""

    def __init__(self, pool: Pool, zygote: Zygote, data: bytes, digest: str) -> None:
        self.notes = Begun()
        noted: Any = self.notes
        self.fetching = asyncio.Event()
        self.fetched = asyncio.Event()
        self.fetched.set()
        self._data, self._digest, self._zygote = data, digest, zygote
        self.sandbox = SandboxPool(zygote, self._fetch)
        self.directory = Directory(KillSwitch(self.sandbox))
        self.invoker = Invoker(pool, self.sandbox, resources(directory=self.directory), noted)
        ledger = Ledger(pool, "tests")
        failures = Failures(ledger, RetryPolicy())
        hooks = Hooks(self.directory, self.sandbox, self.invoker, noted, failures, deadline=60.0)
        hooks.crashed = self.notes.crashes.append
        self.dispatcher = Dispatcher(self.directory, pool, ledger, hooks)
        self.retries = RetryRunner(ledger, hooks, failures)

    async def _fetch(self, _: GuestKey) -> bytes:
        self.fetching.set()
        await self.fetched.wait()
        return self._data

    def install(self, **facts: Any) -> Installation:
        found = installation("probe", digest=self._digest, **facts)
        self.directory.put(found)
        return found

    def change(self, found: Installation, **facts: Any) -> Installation:
        """A newer state, as the registry announces it."""
        changed = msgspec.structs.replace(found, revision=found.revision + 1, **facts)
        self.directory.put(changed)
        return changed

    def revoke(self, found: Installation) -> Installation:
        return self.change(found, revoked="it is bad", status="error", backlog="pause")

    async def no_guest_lives(self) -> None:
        """Wait until the processes of guests have ended."""
        assert self._zygote.pid is not None
        parent = psutil.Process(self._zygote.pid)
        async with asyncio.timeout(5):
            while any(child.status() != psutil.STATUS_ZOMBIE for child in parent.children()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # they are no children of ours to wait for

    async def route(self, found: Installation) -> bytes:
        request = route_payload(RouteRequest("GET", "/hang", "", [], b"", "u-1", "s1", "cashier"))
        return await self.invoker.run(Invocation(found, "route", "GET /hang", "urn:test", "1", "s1", request, 60.0))


@pytest.fixture
async def worker(runtime_pool: Pool, tmp_path: Path) -> AsyncIterator[Worker]:
    built = plugins.build(tmp_path, SOURCE)
    async with Zygote(start_deadline=60) as zygote:
        worker = Worker(runtime_pool, zygote, built.data, built.digest)
        yield worker
        await worker.dispatcher.hooks.close()
        await worker.sandbox.close()


async def kept(pool: Pool) -> list[tuple[str, int]]:
    """The events in the ledger, with the attempts that were counted."""
    rows = await pool.fetch("SELECT event_id, attempts FROM attempt_ledger WHERE finished_at IS NULL ORDER BY event_id")
    return [(row["event_id"], row["attempts"]) for row in rows]


async def heard(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def test_a_running_guest_ends_at_once_and_no_hook_runs_after(worker: Worker, platform_pool: Pool) -> None:
    found = worker.install(config={"hang": True})
    await worker.dispatcher.dispatch([arrival(worker.notes, 1)])
    async with asyncio.timeout(30):
        await worker.notes.running.wait()
    revoked = worker.revoke(found)
    assert len(worker.sandbox) == 0
    await worker.no_guest_lives()
    await worker.notes.until_finished(1)
    await worker.dispatcher.dispatch([arrival(worker.notes, 2, key="acme/s1/2")])
    await worker.notes.until_finished(2)
    assert await worker.retries.turn() == 0
    assert (len(worker.sandbox), await heard(platform_pool), worker.notes.failures) == (0, 0, [])
    assert await kept(platform_pool) == [("e1", 0), ("e2", 0)]

    worker.change(revoked, revoked=None, status="active", backlog="none", config={})
    async with asyncio.timeout(30):
        while await heard(platform_pool) < 2:
            await worker.retries.turn()
            await asyncio.sleep(0.01)
    assert worker.notes.crashes == []


async def test_a_route_that_runs_is_ended_and_a_further_one_is_refused(worker: Worker, platform_pool: Pool) -> None:
    found = worker.install()
    running = asyncio.create_task(worker.route(found))
    async with asyncio.timeout(30):
        await worker.notes.running.wait()
    revoked = worker.revoke(found)
    for call in (running, worker.route(revoked)):
        with pytest.raises(PlatformRefusal) as refused:
            await call
        assert (refused.value.code, refused.value.source) == ("plugin_revoked", "platform")
    assert await heard(platform_pool) == 0


async def test_a_guest_that_was_still_loading_runs_nothing(worker: Worker) -> None:
    worker.fetched.clear()
    found = worker.install()
    loading = asyncio.create_task(worker.route(found))
    async with asyncio.timeout(30):
        await worker.fetching.wait()
    worker.revoke(found)
    worker.fetched.set()
    with pytest.raises(PlatformRefusal):
        await loading
    assert not worker.notes.running.is_set()
    await worker.no_guest_lives()


async def test_all_organizations_of_the_version_are_stopped_by_the_first_that_is_announced(worker: Worker) -> None:
    found, other = worker.install(), worker.install(organization="globex")
    running = asyncio.create_task(worker.route(other))
    async with asyncio.timeout(30):
        await worker.notes.running.wait()
    worker.revoke(found)
    with pytest.raises(PlatformRefusal):
        await running
