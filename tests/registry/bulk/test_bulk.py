"""One thing done in many stores: each store's failure is its own, the others go on, and the end is known."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from proto import runtime_pb2 as pb
from services.common.directory import Installation
from tests.registry.platform import Client, LocalRegistry
from tests.registry.updates.test_updates import MORE
from tests.registry.worker import FAILS, SUCCEEDS, Behaviour, FakeWorker

BUSY = "UPDATE installation SET operation_id = $2, operation_started_at = now() WHERE plugin_id = $1"
IDLE = "UPDATE installation SET operation_id = NULL, operation_started_at = NULL WHERE plugin_id = $1"
DUE = "UPDATE bulk_item SET due_at = now() WHERE state = 'waiting'"
STORES = [f"s{number}" for number in range(6)]


def ask(action: str, plugin_id: str, stores: list[str] = STORES, **wanted: Any) -> dict[str, Any]:
    return {"action": action, "pluginId": plugin_id, "selection": {"stores": stores}, **wanted}


async def begin(owner: Client, action: str, plugin_id: str, stores: list[str] = STORES, **wanted: Any) -> str:
    """A job that waits; its path."""
    answered = await owner.post("/bulk", ask(action, plugin_id, stores, **wanted))
    assert answered.status_code == 201, answered.text
    path: str = answered.headers["Location"].removeprefix("/api/plugins")
    return path


async def turn(registry: LocalRegistry) -> None:
    await registry.app.state.bulk_keeper.turn()


async def done(registry: LocalRegistry, owner: Client, action: str, plugin_id: str, **wanted: Any) -> dict[str, Any]:
    """A job that has been worked off."""
    path = await begin(owner, action, plugin_id, **wanted)
    await turn(registry)
    return await read(owner, path)


async def read(owner: Client, path: str, **query: Any) -> dict[str, Any]:
    document: dict[str, Any] = (await owner.get(path, **query)).json()
    return document


def by_store(job: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {each["storeId"]: (each["state"], each["code"]) for each in job["stores"]["items"]}


def fails_in(*stores: str) -> Behaviour:
    async def behave(hook: str, told: Installation) -> pb.RunLifecycleHookResponse:
        return await (FAILS if told.store_id in stores else SUCCEEDS)(hook, told)

    return behave


async def statuses(owner: Client, plugin_id: str) -> dict[str, str]:
    items = (await owner.get(pluginId=plugin_id)).json()["items"]
    return {each["storeId"]: each["status"] for each in items}


async def execute(registry: LocalRegistry, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    await connection.execute(statement, *values)
    await connection.close()


async def test_a_plugin_is_installed_and_activated_in_every_store_and_one_failure_stops_no_other(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = fails_in("s2")
    job = await done(registry, owner, "install", plugin_id, options={"activate": True}, config={"rate": 3})
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("completed", 6, 5, 1)
    assert by_store(job)["s2"] == ("failed", "lifecycle_hook_failed")
    (failed,) = (await read(owner, f"/bulk/{job['id']}", state="failed"))["stores"]["items"]
    assert "it broke" in failed["detail"]
    assert await statuses(owner, plugin_id) == dict.fromkeys(STORES, "active") | {"s2": "error"}
    assert {each["config"]["rate"] for each in (await owner.get(pluginId=plugin_id)).json()["items"]} == {3}


async def test_what_failed_is_tried_again_and_what_is_there_stays(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = fails_in("s2", "s4")
    job = await done(registry, owner, "install", plugin_id)
    worker.behaviour, worker.calls = SUCCEEDS, []
    retried = await owner.post(f"/bulk/{job['id']}/retry")
    assert (retried.status_code, retried.json()["waiting"], retried.json()["state"]) == (200, 2, "running")
    await turn(registry)
    job = await read(owner, f"/bulk/{job['id']}")
    assert (job["state"], job["done"], job["failed"]) == ("completed", 6, 0)
    assert sorted(told.store_id or "" for _, told in worker.calls) == ["s2", "s4"]
    refused = await owner.post(f"/bulk/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_retry")


async def test_stores_that_have_it_already_are_skipped(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id)
    await done(registry, owner, "activate", plugin_id, stores=["s0", "s1"])
    worker.calls = []
    for action, code, left in (
        ("install", "already_installed", 0),
        ("activate", "already_active", 4),
        ("deactivate", "already_inactive", 6),
        ("uninstall", "not_installed", 6),
    ):
        first = await done(registry, owner, action, plugin_id)
        assert first["done"] == left, first
        again = await done(registry, owner, action, plugin_id)
        assert Counter(by_store(again).values()) == {("skipped", code): 6}
    assert Counter(hook for hook, _ in worker.calls) == {"ON_ACTIVATE": 4, "ON_DEACTIVATE": 6, "ON_UNINSTALL": 6}


async def test_stores_are_updated_configured_and_rolled_back(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id)
    await registry.publish(plugin_id, "1.1.0")
    worker.behaviour = fails_in("s5")
    job = await done(registry, owner, "update", plugin_id)
    assert (job["version"], job["done"], by_store(job)["s5"]) == ("1.1.0", 5, ("failed", "lifecycle_hook_failed"))
    worker.behaviour = SUCCEEDS
    job = await done(registry, owner, "configure", plugin_id, config={"rate": 7})
    assert job["done"] == 6
    job = await done(registry, owner, "rollback", plugin_id, version="1.1.0")
    assert (job["done"], by_store(job)["s5"]) == (5, ("skipped", "other_version"))
    assert {each["version"] for each in (await owner.get(pluginId=plugin_id)).json()["items"]} == {"1.0.0"}


async def test_an_update_that_asks_for_more_waits_for_consent_in_each_store(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id)
    await registry.publish(plugin_id, "1.1.0", permissions=MORE)
    job = await done(registry, owner, "update", plugin_id)
    assert set(by_store(job).values()) == {("failed", "consent_required")}
    job = await done(registry, owner, "update", plugin_id, grants=[MORE[0]["name"]])
    assert job["done"] == 6


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id, stores=["s0", "s1"])
    await done(registry, owner, "activate", plugin_id, stores=["s1"])
    hooks, jobs = list(worker.hooks), (await owner.get("/bulk")).json()
    for action, expected in {
        "install": {"s0": ("skip", "already_installed"), "s1": ("skip", "already_installed"), "s2": ("act", None)},
        "activate": {"s0": ("act", None), "s1": ("skip", "already_active"), "s2": ("refuse", "not_installed")},
        "uninstall": {"s0": ("act", None), "s1": ("refuse", "illegal_transition"), "s2": ("skip", "not_installed")},
        "rollback": dict.fromkeys(("s0", "s1"), ("refuse", "nothing_to_roll_back"))
        | {"s2": ("refuse", "not_installed")},
    }.items():
        answer = await owner.post("/bulk", ask(action, plugin_id, ["s0", "s1", "s2"], dryRun=True))
        assert answer.status_code == 200, answer.text
        found = {each["storeId"]: (each["outcome"], each["code"]) for each in answer.json()["stores"]}
        assert found == expected
    assert (worker.hooks, (await owner.get("/bulk")).json()) == (hooks, jobs)


async def test_what_has_not_begun_stays_undone_when_a_job_is_cancelled(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    entered, opened = asyncio.Queue[str](), asyncio.Event()

    async def hold(_: str, told: Installation) -> pb.RunLifecycleHookResponse:
        entered.put_nowait(told.store_id or "")
        await opened.wait()
        return pb.RunLifecycleHookResponse()

    worker.behaviour = hold
    path = await begin(owner, "install", plugin_id)
    turning = asyncio.create_task(turn(registry))
    began = {await entered.get() for _ in range(registry.settings.bulk_at_once)}
    cancelled = (await owner.post(f"{path}/cancel")).json()
    assert (cancelled["state"], cancelled["running"], cancelled["skipped"]) == ("running", len(began), 6 - len(began))
    opened.set()
    await turning
    job = await read(owner, path)
    assert (job["state"], job["done"], job["skipped"]) == ("cancelled", len(began), 6 - len(began))
    assert set(await statuses(owner, plugin_id)) == began
    refused = await owner.post(f"{path}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "bulk_ended")


async def test_two_hundred_stores_are_worked_off_a_few_at_a_time_each_once(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    at_once, most = 0, 0

    async def count(_: str, told: Installation) -> pb.RunLifecycleHookResponse:
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        await asyncio.sleep(0)  # lets the others in
        at_once -= 1
        return pb.RunLifecycleHookResponse()

    worker.behaviour = count
    stores = [f"store-{number}" for number in range(200)]
    job = await done(registry, owner, "install", plugin_id, stores=stores)
    assert (job["state"], job["done"]) == ("completed", 200)
    assert 1 <= most <= registry.settings.bulk_at_once
    assert Counter(told.store_id for _, told in worker.calls) == dict.fromkeys(stores, 1)
    seen, query = [], {"limit": 150}
    while True:
        page = (await read(owner, f"/bulk/{job['id']}", state="done", **query))["stores"]
        seen += [each["storeId"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == stores


async def test_a_store_where_something_else_is_under_way_is_tried_again(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id, stores=["s0"])
    await execute(registry, BUSY, plugin_id, uuid4())
    path = await begin(owner, "activate", plugin_id, ["s0", "s1"])
    await turn(registry)
    assert by_store(await read(owner, path)) == {"s0": ("waiting", None), "s1": ("failed", "not_installed")}
    await execute(registry, IDLE, plugin_id)
    await execute(registry, DUE)
    await turn(registry)
    job = await read(owner, path)
    assert (by_store(job)["s0"], job["state"]) == (("done", None), "completed")


async def test_a_store_that_stays_busy_has_failed_in_the_end(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await done(registry, owner, "install", plugin_id, stores=["s0"])
    await execute(registry, BUSY, plugin_id, uuid4())
    path = await begin(owner, "activate", plugin_id, ["s0"])
    await turn(registry)
    later = "UPDATE bulk_item SET due_at = now(), begun_at = now() - interval '1 hour' WHERE state = 'waiting'"
    await execute(registry, later)
    await turn(registry)
    assert by_store(await read(owner, path)) == {"s0": ("failed", "operation_in_progress")}


async def test_what_others_do_meanwhile_is_not_taken_for_the_jobs_own_work(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id, storeId="s0")
    await execute(registry, BUSY, plugin_id, uuid4())
    path = await begin(owner, "rollback", plugin_id, ["s0"])
    await turn(registry)
    await execute(registry, IDLE, plugin_id)
    await registry.publish(plugin_id, "1.1.0")
    assert (await owner.post(f"/{installed['id']}/update", {})).status_code == 200
    await execute(registry, DUE)
    await turn(registry)
    assert by_store(await read(owner, path)) == {"s0": ("done", None)}
    assert (await owner.read(installed["id"]))["version"] == "1.0.0"


async def test_a_region_stands_for_its_stores(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await owner.put("/regions/north", {"name": "North", "stores": ["n1", "n2"]})
    wanted = ask("install", plugin_id) | {"selection": {"stores": ["n2", "s0"], "regions": ["north"]}}
    job = (await owner.post("/bulk", wanted)).json()
    assert sorted(by_store(job)) == ["n1", "n2", "s0"]
    await owner.post(f"/bulk/{job['id']}/cancel")


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"selection": {"regions": ["theirs"]}}, 404, "region_not_found"),
        ({"selection": {}}, 422, "invalid_request"),
        ({"selection": {"stores": [f"s{n}" for n in range(2001)]}, "dryRun": True}, 422, "invalid_selection"),
        ({"selection": {"regions": ["empty"]}}, 422, "invalid_selection"),
        ({"version": "9.9.9"}, 404, "version_not_found"),
        ({"pluginId": "no-such-plugin"}, 404, "plugin_not_found"),
        ({"config": {"rate": -1}}, 422, "invalid_config"),
        ({"grants": ["sale:write"]}, 422, "invalid_grants"),
        ({"action": "configure"}, 422, "invalid_request"),
        ({"action": "activate", "version": "1.0.0"}, 422, "invalid_request"),
    ],
)
async def test_what_is_wrong_for_all_stores_is_refused_at_once(
    registry: LocalRegistry, owner: Client, plugin_id: str, wanted: dict[str, Any], status: int, code: str
) -> None:
    await registry.caller("owner").put("/regions/theirs", {"name": "Theirs", "stores": ["x"]})
    await owner.put("/regions/empty", {"name": "Empty", "stores": []})
    refused = await owner.post("/bulk", ask("install", plugin_id) | wanted)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert (await owner.get("/bulk")).json()["items"] == []


async def test_another_organizations_stores_are_neither_changed_nor_seen(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    other = registry.caller("owner")
    await done(registry, other, "install", plugin_id)
    job = await done(registry, owner, "activate", plugin_id)
    assert set(by_store(job).values()) == {("failed", "not_installed")}
    assert set((await statuses(other, plugin_id)).values()) == {"inactive"}
    for answer in (
        await other.get(f"/bulk/{job['id']}"),
        await other.post(f"/bulk/{job['id']}/cancel"),
        await other.post(f"/bulk/{job['id']}/retry"),
        await other.get("/bulk/no-id"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "bulk_not_found")
    assert job["id"] not in [each["id"] for each in (await other.get("/bulk")).json()["items"]]


async def test_a_token_of_one_store_may_not(registry: LocalRegistry, owner: Client, plugin_id: str) -> None:
    path = await begin(owner, "install", plugin_id)
    bound = owner.also("owner", store="s0")
    for answer in (
        await bound.post("/bulk", ask("install", plugin_id, ["s0"])),
        await bound.post("/bulk", ask("install", plugin_id, ["s0"], dryRun=True)),
        await bound.get("/bulk"),
        await bound.get(path),
        await bound.post(f"{path}/cancel"),
        await bound.post(f"{path}/retry"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_store")
    assert (await owner.post(f"{path}/cancel")).json()["state"] == "cancelled"


async def test_the_audit_log_names_the_job_and_who_asked_for_each_operation(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    job = await done(registry, owner, "install", plugin_id, stores=["s0", "s1"])
    entries = (await owner.get("/audit")).json()["items"]
    (begun,) = [each for each in entries if each["action"] == "bulk.begin"]
    assert (begun["about"], begun["after"]["stores"]) == ({"pluginId": plugin_id, "jobId": job["id"]}, ["s0", "s1"])
    installed = [each for each in entries if each["action"] == "installation.install" and each["outcome"] == "done"]
    assert {each["about"]["storeId"] for each in installed} == {"s0", "s1"}
    assert {each["by"]["subject"] for each in installed} == {job["createdBy"]}


async def test_the_list_has_pages(registry: LocalRegistry, owner: Client, plugin_id: str) -> None:
    paths = [await begin(owner, "activate", plugin_id, ["s0"]) for _ in range(3)]
    page = (await owner.get("/bulk", limit=2)).json()
    rest = (await owner.get("/bulk", limit=2, cursor=page["nextCursor"])).json()
    found = [f"/bulk/{each['id']}" for each in page["items"] + rest["items"]]
    assert (found, rest["nextCursor"]) == (paths[::-1], None)
    for path, cursor in (("/bulk", "rubbish"), (paths[0], "rubbish"), (paths[0], "WyIxZSJd")):
        refused = await owner.get(path, cursor=cursor)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
    for path in paths:
        await owner.post(f"{path}/cancel")
