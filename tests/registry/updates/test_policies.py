"""What happens by itself when a version is published, and what waits for somebody to agree."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Unavailable
from services.registry.updates.policies import Policy, choose
from tests.registry.platform import Client, LocalRegistry, running_registry
from tests.registry.updates.test_updates import MORE, active
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker, running_worker


@pytest.mark.parametrize(
    ("policy", "versions", "chosen"),
    [
        (Policy.MANUAL, ["1.2.4"], None),
        (Policy.PATCH, ["1.2.2", "1.2.10", "1.2.9", "1.3.0", "2.0.0"], "1.2.10"),
        (Policy.PATCH, ["1.3.0", "2.0.0"], None),
        (Policy.MINOR, ["1.2.9", "1.10.0", "2.0.0"], "1.10.0"),
        (Policy.ALL, ["1.10.0", "2.0.0", "3.0.0-rc.1"], "2.0.0"),
        (Policy.ALL, ["1.2.3", "1.2.3+build", "1.2.2"], None),
    ],
)
def test_a_policy_takes_the_highest_release_that_it_allows(
    policy: Policy, versions: list[str], chosen: str | None
) -> None:
    assert choose(policy, "1.2.3", versions) == chosen


def test_what_was_skipped_is_not_taken_and_what_comes_after_it_is() -> None:
    assert choose(Policy.ALL, "1.0.0", ["1.1.0"], {"1.1.0"}) is None
    assert choose(Policy.ALL, "1.0.0", ["1.1.0", "1.1.1"], {"1.1.0"}) == "1.1.1"


async def set_policy(owner: Client, policy: str) -> None:
    answered = await owner.put("/policies/updates", {"policy": policy})
    assert (answered.status_code, answered.json()) == (200, {"policy": policy})


async def turn(registry: LocalRegistry) -> None:
    await registry.app.state.update_keeper.turn()


async def state(owner: Client, path: str) -> tuple[str, str]:
    plan = (await owner.get(f"{path}/update")).json()
    return plan["fromVersion"], plan["state"]


async def test_an_organization_decides_for_itself_and_by_default_nothing_happens(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    other = registry.caller("owner")
    paths = {caller: await active(caller, plugin_id) for caller in (owner, other)}
    assert (await owner.get("/policies/updates")).json() == {"policy": "manual"}
    await registry.publish(plugin_id, "1.0.1")
    await set_policy(owner, "patch")
    await turn(registry)
    assert await state(owner, paths[owner]) == ("1.0.1", "up-to-date")
    assert await state(other, paths[other]) == ("1.0.0", "available")
    assert (await owner.also("manager").put("/policies/updates", {"policy": "all"})).status_code == 403
    assert (await owner.put("/policies/updates", {"policy": "sometimes"})).status_code == 422


async def test_turns_repeat_nothing(registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    await active(owner, plugin_id)
    await registry.publish(plugin_id, "1.0.1")
    await set_policy(owner, "all")
    for _ in range(3):
        await turn(registry)
    assert worker.hooks.count("ON_UPDATE") == 1


async def test_a_failed_update_is_not_tried_again_by_itself_and_the_next_version_is(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await registry.publish(plugin_id, "1.0.1")
    worker.behaviour = FAILS
    await set_policy(owner, "all")
    await turn(registry)
    await turn(registry)
    assert worker.hooks.count("ON_UPDATE") == 1
    assert await state(owner, path) == ("1.0.0", "skipped")
    assert (await owner.get(path)).json()["status"] == "active"
    worker.behaviour = SUCCEEDS
    await registry.publish(plugin_id, "1.0.2")
    await turn(registry)
    assert await state(owner, path) == ("1.0.2", "up-to-date")


async def test_a_version_that_was_rolled_back_does_not_come_again_by_itself(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await registry.publish(plugin_id, "1.0.1")
    await set_policy(owner, "all")
    await turn(registry)
    assert (await owner.post(f"{path}/rollback")).json()["version"] == "1.0.0"
    await turn(registry)
    assert await state(owner, path) == ("1.0.0", "skipped")


async def test_without_a_worker_an_update_waits_and_is_not_skipped(
    registry: LocalRegistry, owner: Client, plugin_id: str, workers_url: str
) -> None:
    async with running_worker(workers_url):
        path = await active(owner, plugin_id)
    await registry.publish(plugin_id, "1.0.1")
    await set_policy(owner, "all")
    keeper = registry.app.state.update_keeper
    with pytest.raises(Unavailable):
        await keeper.turn()
    assert await state(owner, path) == ("1.0.0", "automatic")
    async with running_worker(workers_url):
        await keeper.turn()
    assert await state(owner, path) == ("1.0.1", "up-to-date")


async def test_an_installation_that_is_gone_when_its_update_is_due_is_passed_over(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    await registry.publish(plugin_id, "1.0.1")
    await set_policy(owner, "all")
    keeper = registry.app.state.update_keeper
    ((row, target),) = [each for each in await keeper._due() if f"/{each[0][0].id}" == path]
    assert (await owner.delete(path)).status_code == 204
    await keeper._carry_out(row, target)
    assert "ON_UPDATE" not in worker.hooks


async def test_settings_that_do_not_fit_hold_an_update_back_with_the_reason(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id, config={"rate": 3})
    schema = {"type": "object", "properties": {"rate": {"type": "number", "maximum": 2}}}
    await registry.publish(plugin_id, "1.0.1", settingsSchema=schema)
    await set_policy(owner, "all")
    await turn(registry)
    plan = (await owner.get(f"{path}/update")).json()
    assert plan["state"] == "skipped"
    assert "does not fit" in plan["skipped"][0]["reason"]
    assert "ON_UPDATE" not in worker.hooks


ASKING: list[dict[str, Any]] = [
    {"permissions": MORE},
    {"hosts": [{"name": "evil.example", "purpose": "to phone home"}]},
    {"calls": [{"pluginId": "loyalty-points", "purpose": "to read points"}]},
]


@pytest.mark.parametrize("asks", ASKING)
async def test_a_version_that_asks_for_more_waits_for_consent_whatever_the_policy(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker, asks: dict[str, Any]
) -> None:
    """The attack: a new version declares what nobody agreed to, and hopes to run before anybody looks."""
    path = await active(owner, plugin_id, grants=["sale:read"])
    await registry.publish(plugin_id, "1.0.1", changelog="Better in every way.", **asks)
    await set_policy(owner, "all")
    await turn(registry)
    assert "ON_UPDATE" not in worker.hooks
    document = (await owner.get(path)).json()
    assert (document["version"], document["status"], document["grants"]) == ("1.0.0", "active", ["sale:read"])
    plan = (await owner.get(f"{path}/update")).json()
    assert plan["state"] == "awaiting-consent"
    assert plan["needsConsent"] == plan["wishes"]["added"]
    assert plan["changes"][0]["changelog"] == "Better in every way."
    ((waiting),) = [each for each in (await owner.get("/updates")).json() if f"/{each['installationId']}" == path]
    assert (waiting["state"], waiting["toVersion"]) == ("awaiting-consent", "1.0.1")

    refused = await owner.post(f"{path}/update", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "consent_required")
    assert refused.json()["needsConsent"] == plan["needsConsent"]
    more = plan["needsConsent"][0]["name"]
    agreed = (await owner.post(f"{path}/update", {"grants": ["sale:read", more]})).json()
    assert (agreed["version"], agreed["grants"]) == ("1.0.1", ["sale:read", more])
    assert worker.calls[-1][1].grants == ("sale:read", more)


async def test_what_was_declined_once_is_not_granted_by_a_later_version(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    """Asking again in the next version is no way around a refusal: an update never widens what is granted."""
    path = await active(owner, plugin_id, grants=["sale:read"])
    await registry.publish(plugin_id, "1.0.1", permissions=MORE)
    assert (await owner.post(f"{path}/update", {"grants": ["sale:read"]})).json()["grants"] == ["sale:read"]
    await registry.publish(plugin_id, "1.0.2", permissions=MORE)
    await set_policy(owner, "all")
    await turn(registry)
    document = (await owner.get(path)).json()
    assert (document["version"], document["grants"]) == ("1.0.2", ["sale:read"])
    assert worker.calls[-1][1].grants == ("sale:read",)


async def test_a_version_that_asks_for_less_is_granted_less(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await registry.publish(plugin_id, "1.0.1", permissions=MORE[:1])
    plan = (await owner.get(f"{path}/update")).json()
    assert [each["name"] for each in plan["wishes"]["removed"]] == ["customer:read"]
    assert (await owner.post(f"{path}/update", {})).json()["grants"] == ["sale:read"]
    await registry.publish(plugin_id, "1.0.2", permissions=MORE[:2])  # what it gave back has to be asked for again
    assert (await owner.post(f"{path}/update", {})).json()["code"] == "consent_required"


async def test_a_plan_of_an_installation_shows_what_the_plugin_asks_for_and_why(owner: Client, plugin_id: str) -> None:
    plan = (await owner.get("/install/plan", pluginId=plugin_id)).json()
    assert plan["wishes"][0] == {"name": "sale:read", "purpose": "to count them"}
    assert plan["version"] == "1.0.0"
    assert (await owner.get("/install/plan", pluginId="nobody-has-it")).json()["code"] == "plugin_not_found"
    assert (await owner.get("/install/plan", pluginId=plugin_id, version="7.0.0")).json()["code"] == "version_not_found"


async def test_the_registry_takes_its_turns_by_itself(
    database: Callable[[str], Awaitable[str]],
    worker: FakeWorker,
    workers_url: str,
    kafka_brokers: list[str],
    tmp_path: Path,
) -> None:
    arguments = (await database("turns"), workers_url, kafka_brokers[0], tmp_path / "keys")
    async with running_registry(*arguments, update_turn_seconds=0.05) as registry:
        owner = registry.caller("owner")
        plugin_id = await registry.publish()
        path = await active(owner, plugin_id)
        store = await registry.publish()
        await owner.install(store, storeId="s1")
        await set_policy(owner, "patch")
        await registry.publish(plugin_id, "1.0.1")
        await registry.publish(store, "2.0.0")
        wanted = {"pluginId": store, "percents": [100], "windowSeconds": 0, "minimumRuns": 0}
        rollout = (await owner.post("/rollouts", wanted)).json()["id"]
        async with asyncio.timeout(20):
            while await state(owner, path) != ("1.0.1", "up-to-date"):
                pass
            while (await owner.get(f"/rollouts/{rollout}")).json()["state"] != "completed":
                pass
