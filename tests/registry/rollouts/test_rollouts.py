"""A version on its way to the stores: by percent, within an error budget, and back by itself."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.registry.rollouts.progress import in_order
from tests.registry.installations.test_operations import Gate, make_stale
from tests.registry.platform import Client, LocalRegistry
from tests.registry.updates.test_policies import set_policy
from tests.registry.updates.test_updates import MORE
from tests.registry.worker import SUCCEEDS, FakeWorker, failure

CAREFUL = {"percents": [25, 100], "windowSeconds": 0, "minimumRuns": 10, "errorRate": 0.2}


@pytest.fixture
async def stores(owner: Client, plugin_id: str, worker: FakeWorker) -> list[str]:
    """Eight stores with version 1.0.0, active; 1.1.0 is published. The ids of their installations."""
    ids = []
    for number in range(8):
        ids.append((await owner.install(plugin_id, storeId=f"s{number}"))["id"])
        await owner.post(f"/{ids[-1]}/activate")
    await owner.registry.publish(plugin_id, "1.1.0")
    return ids


async def begin(owner: Client, plugin_id: str, **wanted: Any) -> str:
    answered = await owner.post("/rollouts", {"pluginId": plugin_id, **CAREFUL, **wanted})
    assert answered.status_code == 201, answered.text
    path: str = answered.headers["Location"].removeprefix("/api/plugins")
    return path


async def turn(registry: LocalRegistry, times: int = 1) -> None:
    for _ in range(times):
        await registry.app.state.rollout_keeper.turn()


async def ran(registry: LocalRegistry, ids: list[str], runs: int, errors: int = 0) -> None:
    """As if the workers had reported this of each installation."""
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    change = "UPDATE installation SET hook_runs = hook_runs + $2, hook_errors = hook_errors + $3 WHERE id = ANY($1)"
    await connection.execute(change, ids, runs, errors)
    await connection.close()


async def at(owner: Client, plugin_id: str, version: str) -> list[str]:
    """The ids of installations that have a version."""
    return [each["id"] for each in (await owner.get(pluginId=plugin_id)).json()["items"] if each["version"] == version]


def test_the_order_of_stores_is_the_same_each_time_and_another_for_another_version() -> None:
    stores = [(str(number), f"store-{number}") for number in range(20)]
    first = in_order("p", "1.0.0", stores)
    assert first == in_order("p", "1.0.0", reversed(stores))
    assert sorted(first) == sorted(in_order("p", "1.0.1", stores))
    assert first != in_order("p", "1.0.1", stores)


async def test_a_version_comes_to_some_stores_first_and_to_all_once_they_did_well(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    path = await begin(owner, plugin_id)
    await turn(registry, 2)
    first = await at(owner, plugin_id, "1.1.0")
    assert len(first) == 2
    rollout = (await owner.get(path)).json()
    assert (rollout["state"], rollout["stage"], rollout["updated"], rollout["waiting"]) == ("running", 0, 2, 6)
    assert rollout["reason"] == "waits for 10 more hooks to judge by"

    await ran(registry, first, runs=10, errors=1)
    await turn(registry, 2)
    assert len(await at(owner, plugin_id, "1.1.0")) == 8
    await turn(registry)
    rollout = (await owner.get(path)).json()
    assert (rollout["state"], rollout["updated"], rollout["runs"], rollout["errors"]) == ("completed", 8, 20, 2)


async def test_it_goes_back_by_itself_when_hooks_fail_beyond_the_budget(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    path = await begin(owner, plugin_id)
    await turn(registry)
    first = await at(owner, plugin_id, "1.1.0")
    await ran(registry, first, runs=10, errors=3)
    await turn(registry)
    rollout = (await owner.get(path)).json()
    assert (rollout["state"], rollout["rolledBack"], rollout["waiting"]) == ("rolled-back", 2, 6)
    assert rollout["reason"] == "6 of 20 hooks failed in version 1.1.0"
    assert len(await at(owner, plugin_id, "1.0.0")) == 8
    assert {(await owner.read(each))["status"] for each in first} == {"active"}
    await turn(registry)
    assert await at(owner, plugin_id, "1.1.0") == []


async def test_errors_of_the_former_version_do_not_count(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    await ran(registry, stores, runs=100, errors=90)
    path = await begin(owner, plugin_id)
    await turn(registry)
    await ran(registry, await at(owner, plugin_id, "1.1.0"), runs=5)
    await turn(registry, 3)
    assert (await owner.get(path)).json()["state"] == "completed"


async def test_stores_whose_update_fails_count_against_the_budget(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str], worker: FakeWorker
) -> None:
    order = [each["installationId"] for each in (await owner.get(await begin(owner, plugin_id))).json()["members"]]
    path = f"/rollouts/{(await owner.get('/rollouts')).json()[0]['id']}"

    async def second_fails(_: str, told: Any) -> Any:
        return failure() if told.id == order[1] else await SUCCEEDS(_, told)

    worker.behaviour = second_fails
    await turn(registry, 2)
    rollout = (await owner.get(path)).json()
    assert (rollout["state"], rollout["failed"], rollout["rolledBack"]) == ("rolled-back", 1, 1)
    assert rollout["reason"] == "1 of 2 stores do not work in version 1.1.0"
    assert "it broke" in rollout["members"][1]["reason"]
    assert len(await at(owner, plugin_id, "1.0.0")) == 8


async def test_a_stage_is_watched_for_its_window(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    path = await begin(owner, plugin_id, windowSeconds=3600, minimumRuns=0)
    await turn(registry, 3)
    rollout = (await owner.get(path)).json()
    assert (rollout["stage"], rollout["updated"]) == (0, 2)
    assert rollout["reason"].startswith("is watched until")


async def test_what_a_registry_left_half_done_is_gone_on_with(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str], worker: FakeWorker
) -> None:
    path = await begin(owner, plugin_id, percents=[10, 100])
    gate = worker.behaviour = Gate()
    dying = asyncio.create_task(turn(registry))
    await gate.entered.wait()
    dying.cancel()  # in the middle of a store's update
    await asyncio.wait([dying])
    await turn(registry)
    assert (await owner.get(path)).json()["updated"] == 0
    (half_done,) = {told.id for hook, told in worker.calls if hook == "ON_UPDATE"}
    await make_stale(registry, half_done)
    worker.behaviour = SUCCEEDS
    await registry.app.state.update_keeper.turn()
    await turn(registry)
    assert await at(owner, plugin_id, "1.1.0") == [half_done]
    assert (await owner.get(path)).json()["updated"] == 1
    gate.opened.set()


async def test_by_hand_it_is_cancelled_or_taken_back(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    path = await begin(owner, plugin_id)
    await turn(registry)
    second = await owner.post("/rollouts", {"pluginId": plugin_id})
    assert (second.status_code, second.json()["code"]) == (409, "rollout_in_progress")
    assert (await owner.post(f"{path}/cancel")).json()["state"] == "cancelled"
    await ran(registry, await at(owner, plugin_id, "1.1.0"), runs=50)
    await turn(registry, 2)
    assert len(await at(owner, plugin_id, "1.1.0")) == 2
    assert (await owner.post(f"{path}/rollback")).json()["state"] == "rolling-back"
    await turn(registry)
    assert (await owner.get(path)).json()["state"] == "rolled-back"
    assert len(await at(owner, plugin_id, "1.0.0")) == 8
    assert (await owner.post(f"{path}/cancel")).json()["code"] == "rollout_ended"


async def test_policies_leave_the_stores_of_a_rollout_to_it(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    path = await begin(owner, plugin_id)
    await set_policy(owner, "all")
    await registry.app.state.update_keeper.turn()
    await turn(registry)
    assert len(await at(owner, plugin_id, "1.1.0")) == 2
    await owner.post(f"{path}/cancel")
    await registry.app.state.update_keeper.turn()
    assert len(await at(owner, plugin_id, "1.1.0")) == 8


async def test_a_version_that_asks_for_more_needs_consent_and_gets_what_was_agreed_to(
    registry: LocalRegistry, owner: Client, plugin_id: str, stores: list[str]
) -> None:
    await owner.registry.publish(plugin_id, "1.2.0", permissions=MORE)
    refused = await owner.post("/rollouts", {"pluginId": plugin_id, **CAREFUL})
    assert (refused.status_code, refused.json()["code"]) == (409, "consent_required")
    assert [each["name"] for each in refused.json()["needsConsent"]] == ["sale:update"]
    await begin(owner, plugin_id, newGrants=[])
    await turn(registry)
    (first, *_) = await at(owner, plugin_id, "1.2.0")
    assert (await owner.read(first))["grants"] == ["sale:read", "customer:read"]


async def test_only_those_who_manage_the_whole_organization_begin_one(
    owner: Client, plugin_id: str, stores: list[str]
) -> None:
    wanted = {"pluginId": plugin_id, **CAREFUL}
    assert (await owner.also("manager").post("/rollouts", wanted)).status_code == 403
    assert (await owner.also("owner", store="s1").post("/rollouts", wanted)).json()["code"] == "wrong_store"
    stranger = owner.registry.caller("owner")
    assert (await stranger.post("/rollouts", wanted)).json()["code"] == "nothing_to_update"
    path = await begin(owner, plugin_id)
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.post(f"{path}/rollback")).status_code == 404
    assert (await owner.also("manager").get(path)).status_code == 200
    assert (await owner.post("/rollouts", {**wanted, "percents": [50, 10]})).status_code == 422
