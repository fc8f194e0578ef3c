"""Several registries over one database: they share a job, and go on with what one of them left when it died."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from proto import runtime_pb2 as pb
from services.common.directory import Installation
from services.common.secret_settings import SecretKeys, new_key
from services.registry.bulk.asking import config_of
from services.registry.bulk.repository import BulkRepository
from tests.registry.bulk.test_bulk import begin, by_store, execute, read, statuses, turn
from tests.registry.installations.test_secrets import SECRET, SETTINGS
from tests.registry.platform import LocalRegistry, running_registry
from tests.registry.worker import SUCCEEDS, FakeWorker

STALE = "UPDATE installation SET operation_started_at = now() - interval '1 hour' WHERE operation_id IS NOT NULL"
RAN_OUT = "UPDATE bulk_item SET leased_until = now() - interval '1 second' WHERE state = 'running'"
KEY = new_key()


@pytest.fixture
async def pair(
    database: Callable[[str], Awaitable[str]], workers_url: str, kafka_brokers: list[str], tmp_path: Path
) -> AsyncIterator[tuple[LocalRegistry, LocalRegistry]]:
    """Two registries over one database and one broker."""
    dsn, keys = await database("bulk"), tmp_path / "keys"
    async with (
        running_registry(dsn, workers_url, kafka_brokers[0], keys, secret_keys=KEY) as first,
        running_registry(dsn, workers_url, kafka_brokers[0], keys, secret_keys=KEY) as second,
    ):
        yield first, second


async def test_registries_share_a_job_and_one_goes_on_with_what_another_left(
    pair: tuple[LocalRegistry, LocalRegistry], worker: FakeWorker
) -> None:
    first, second = pair
    owner, plugin_id = first.caller("owner"), await first.publish()
    entered: asyncio.Queue[str] = asyncio.Queue()

    async def hold_some(_: str, told: Installation) -> pb.RunLifecycleHookResponse:
        if told.store_id in ("s0", "s1", "s2", "s3"):
            entered.put_nowait(told.store_id)
            await asyncio.Event().wait()
        return pb.RunLifecycleHookResponse()

    worker.behaviour = hold_some
    path = await begin(owner, "install", plugin_id, [f"s{number}" for number in range(10)])
    dying = asyncio.create_task(turn(first))
    assert {await entered.get() for _ in range(4)} == {"s0", "s1", "s2", "s3"}
    await turn(second)
    job = await read(owner, path)
    assert (job["running"], job["done"], job["state"]) == (4, 6, "running")

    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    worker.behaviour, worker.calls = SUCCEEDS, []
    await turn(second)  # the leases hold
    assert (worker.calls, (await read(owner, path))["running"]) == ([], 4)
    await execute(second, RAN_OUT)
    await execute(second, STALE)
    await turn(second)
    job = await read(owner, path)
    assert (job["state"], job["done"], job["failed"]) == ("completed", 10, 0)
    assert Counter(told.store_id for _, told in worker.calls) == {f"s{number}": 1 for number in range(4)}
    assert set((await statuses(owner, plugin_id)).values()) == {"inactive"}


@pytest.mark.parametrize("action", ["install", "update", "rollback", "uninstall"])
async def test_what_was_done_before_a_registry_died_is_not_done_twice(
    pair: tuple[LocalRegistry, LocalRegistry], worker: FakeWorker, action: str
) -> None:
    first, second = pair
    owner, plugin_id = first.caller("owner"), await first.publish()
    if action != "install":
        await begin(owner, "install", plugin_id, ["s0"])
        await turn(first)
        await first.publish(plugin_id, "1.1.0")
    if action == "rollback":
        await first.publish(plugin_id, "1.2.0")
        for version in ("1.1.0", "1.2.0"):
            await begin(owner, "update", plugin_id, ["s0"], version=version)
            await turn(first)
    path = await begin(owner, action, plugin_id, ["s0"])
    await turn(first)
    # As it was when the operation had been committed, and what came of it had not been written down.
    forgotten = "UPDATE bulk_item SET state = 'running', leased_until = now() - interval '1 second' WHERE job_id = $1"
    await execute(second, forgotten, UUID(path.removeprefix("/bulk/")))
    worker.calls = []
    before = (await owner.get(pluginId=plugin_id)).json()
    await turn(second)
    job = await read(owner, path)
    assert (by_store(job)["s0"][0], job["stores"]["items"][0]["attempts"]) == ("done", 2)
    assert (worker.calls, (await owner.get(pluginId=plugin_id)).json()) == ([], before)


async def test_a_jobs_configuration_is_sealed_and_no_answer_shows_it(
    pair: tuple[LocalRegistry, LocalRegistry], worker: FakeWorker
) -> None:
    first, second = pair
    owner, plugin_id = first.caller("owner"), await first.publish(settingsSchema=SETTINGS)
    path = await begin(owner, "install", plugin_id, ["s0"], config={"apiKey": SECRET})
    connection = await asyncpg.connect(first.settings.registry_database_url)
    stored = str([tuple(row) for row in await connection.fetch("SELECT * FROM bulk_job")])
    entries = str(await connection.fetch("SELECT document FROM audit_entry"))
    await connection.close()
    assert SECRET not in stored + entries + (await owner.get(path)).text + (await owner.get("/bulk")).text
    await turn(second)
    assert (await read(owner, path))["done"] == 1
    assert (await owner.get(pluginId=plugin_id)).json()["items"][0]["config"]["apiKey"] == {"set": True}


async def test_a_job_that_waits_is_sealed_with_the_new_key_when_keys_are_changed(
    database: Callable[[str], Awaitable[str]], workers_url: str, kafka_brokers: list[str], tmp_path: Path
) -> None:
    dsn, broker, directory, new = await database("bulk_keys"), kafka_brokers[0], tmp_path / "keys", new_key()
    async with running_registry(dsn, workers_url, broker, directory, secret_keys=KEY) as registry:
        plugin_id = await registry.publish(settingsSchema=SETTINGS)
        await begin(registry.caller("owner"), "install", plugin_id, ["s0"], config={"apiKey": SECRET})
    async with (
        running_registry(dsn, workers_url, broker, directory, secret_keys=f"{new},{KEY}") as registry,
        registry.app.state.transaction() as session,
    ):
        (job,) = await BulkRepository(session).with_config()
    assert config_of(job, SecretKeys.parse(new)) == {"apiKey": SECRET}
