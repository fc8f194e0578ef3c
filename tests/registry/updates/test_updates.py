"""Updating an installation: what the new version is told, and what every outcome leaves behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proto import runtime_pb2 as pb
from services.common.secret_settings import SecretKeys, SecretPlace, new_key
from tests.registry.installations.test_operations import Gate, make_stale
from tests.registry.packages import SETTINGS
from tests.registry.platform import Client, LocalRegistry, running_registry
from tests.registry.topic import Announcement, following
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker, answers, running_worker, sets_config

MORE = [
    {"name": "sale:read", "purpose": "to count them"},
    {"name": "customer:read", "purpose": "to know them"},
    {"name": "sale:update", "purpose": "to correct them"},
]


async def active(owner: Client, plugin_id: str, **members: Any) -> str:
    """The path of an active installation of version 1.0.0."""
    path = f"/{(await owner.install(plugin_id, version='1.0.0', **members))['id']}"
    assert (await owner.post(f"{path}/activate")).json()["status"] == "active"
    return path


async def test_an_update_runs_on_update_in_the_new_version_and_then_the_installation_has_it(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id, config={"rate": 3}, grants=["sale:read"])
    await owner.registry.publish(plugin_id, "1.1.0")
    updated = await owner.post(f"{path}/update", {})
    assert updated.status_code == 200, updated.text
    document = updated.json()
    assert (document["version"], document["status"], document["updating"]) == ("1.1.0", "active", False)
    assert (document["config"], document["grants"]) == ({"rate": 3}, ["sale:read"])
    hook, told = worker.calls[-1]
    assert (hook, worker.requests[-1].from_version) == ("ON_UPDATE", "1.0.0")
    assert worker.requests[-1].from_digest == worker.calls[-2][1].digest != told.digest
    assert (told.version, told.manifest.version, told.updating) == ("1.1.0", "1.1.0", True)
    assert told.grants == ("sale:read",)


async def test_the_old_version_is_announced_as_updating_and_the_new_one_in_one_announcement(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    gate = worker.behaviour = Gate()
    updating = asyncio.create_task(owner.post(f"{path}/update", {}))
    await gate.entered.wait()
    assert (await owner.get(path)).json()["updating"] is True
    refused = await owner.post(f"{path}/deactivate")
    assert (refused.status_code, refused.json()["code"]) == (409, "operation_in_progress")
    gate.opened.set()
    assert (await updating).json()["version"] == "1.1.0"
    async with following(registry_bootstrap) as topic:
        await topic.until(lambda each: own(each) == (path, "1.1.0"))
        states = [each.installation for each in topic.seen if f"/{each.key}" == path]
    assert [(each.version, each.status, each.updating) for each in states[-3:] if each] == [
        ("1.0.0", "active", False),
        ("1.0.0", "active", True),
        ("1.1.0", "active", False),
    ]


def own(record: Announcement) -> tuple[str, str]:
    return f"/{record.key}", "" if record.installation is None else record.installation.version


async def test_a_failing_on_update_leaves_the_old_version_active_with_the_error_shown(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    worker.behaviour = FAILS
    refused = await owner.post(f"{path}/update", {})
    assert (refused.status_code, refused.json()["code"], refused.json()["hook"]) == (
        502,
        "lifecycle_hook_failed",
        "onUpdate",
    )
    document = (await owner.get(path)).json()
    assert (document["version"], document["status"], document["updating"]) == ("1.0.0", "active", False)
    (error,) = document["errors"]
    assert (error["during"], error["code"]) == ("onUpdate", "plugin_raised")
    assert error["message"].startswith("Update to 1.1.0")
    plan = (await owner.get(f"{path}/update")).json()
    assert (plan["state"], plan["toVersion"], plan["previous"]) == ("skipped", "1.1.0", None)
    assert plan["skipped"][0]["version"] == "1.1.0"

    worker.behaviour = SUCCEEDS  # it can be asked for again
    assert (await owner.post(f"{path}/update", {})).json()["version"] == "1.1.0"
    assert (await owner.get(f"{path}/update")).json()["skipped"] == []


async def test_without_a_worker_nothing_is_changed(owner: Client, plugin_id: str, workers_url: str) -> None:
    async with running_worker(workers_url):
        path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    assert (await owner.post(f"{path}/update", {})).status_code == 503
    document = (await owner.get(path)).json()
    assert (document["version"], document["status"], document["updating"]) == ("1.0.0", "active", False)
    plan = (await owner.get(f"{path}/update")).json()
    assert (plan["state"], plan["skipped"], document["errors"]) == ("available", [], [])


async def test_an_inactive_installation_stays_inactive(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    await owner.registry.publish(plugin_id, "1.1.0")
    document = (await owner.post(f"{path}/update", {"version": "1.1.0"})).json()
    assert (document["version"], document["status"]) == ("1.1.0", "inactive")


async def test_the_hook_may_change_the_configuration(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    worker.behaviour = sets_config({"rate": 8, "label": "moved"})
    assert (await owner.post(f"{path}/update", {})).json()["config"] == {"rate": 8, "label": "moved"}


async def test_defaults_of_new_settings_are_filled_in(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = await active(owner, plugin_id, config={"rate": 3})
    schema = {**SETTINGS, "properties": {**SETTINGS["properties"], "limit": {"type": "integer", "default": 5}}}  # type: ignore[dict-item]
    await owner.registry.publish(plugin_id, "1.1.0", settingsSchema=schema)
    plan = (await owner.get(f"{path}/update")).json()
    assert (plan["settings"]["added"], plan["settings"]["faults"]) == (["limit"], [])
    assert (await owner.post(f"{path}/update", {})).json()["config"] == {"rate": 3, "limit": 5}


async def test_a_configuration_that_does_not_fit_any_more_is_refused_before_anything_happens(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id, config={"rate": 3, "label": "x"})
    schema = {"type": "object", "additionalProperties": False, "properties": {"rate": {"type": "number", "maximum": 2}}}
    await owner.registry.publish(plugin_id, "2.0.0", settingsSchema=schema)
    refused = await owner.post(f"{path}/update", {})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "invalid_config")
    assert len(problem["errors"]) == 2
    assert "GET .../update" in problem["remedy"]
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE"]
    plan = (await owner.get(f"{path}/update")).json()
    assert plan["settings"]["removed"] == ["label"]
    assert plan["settings"]["changed"] == ["rate"]
    assert plan["settings"]["faults"] == problem["errors"]
    assert (await owner.post(f"{path}/update", {"config": {"rate": 1}})).json()["config"] == {"rate": 1}


async def test_a_secret_goes_on_and_is_never_opened_to_a_version_that_would_read_it(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    secret = {"type": "object", "properties": {"key": {"type": "string", "format": "secret"}}}
    plugin_id = await owner.registry.publish(None, "1.0.0", settingsSchema=secret)
    path = await active(owner, plugin_id, config={"key": "s3cret"})
    await owner.registry.publish(plugin_id, "1.1.0", settingsSchema=secret)
    assert (await owner.post(f"{path}/update", {})).json()["config"] == {"key": {"set": True}}
    sealed = worker.calls[-1][1].config["key"]
    await owner.registry.publish(plugin_id, "1.2.0", settingsSchema={"type": "object"})
    refused = await owner.post(f"{path}/update", {})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "$.key")
    assert "s3cret" not in refused.text
    assert "s3cret" not in str(sealed)
    assert (await owner.post(f"{path}/update", {"config": {}})).json()["config"] == {}


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"version": "9.9.9"}, 404, "version_not_found"),
        ({"version": "1.0.0"}, 409, "version_not_newer"),
        ({"version": "0.9.0"}, 409, "version_not_newer"),
        ({}, 409, "nothing_to_update"),
        ({"version": "1.1.0-beta", "grants": ["product:delete"]}, 422, "invalid_grants"),
    ],
)
async def test_what_cannot_be_updated_to_is_refused(
    owner: Client, plugin_id: str, worker: FakeWorker, wanted: dict[str, Any], status: int, code: str
) -> None:
    await owner.registry.publish(plugin_id, "0.9.0")
    await owner.registry.publish(plugin_id, "1.1.0-beta")
    path = await active(owner, plugin_id)
    refused = await owner.post(f"{path}/update", wanted)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert "ON_UPDATE" not in worker.hooks


async def test_only_those_who_manage_the_organization_update_and_roll_back(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    stranger = owner.registry.caller("owner")
    for move in ("update", "rollback"):
        assert (await owner.also("manager").post(f"{path}/{move}", {})).status_code == 403
        assert (await owner.also("owner", store="s1").post(f"{path}/{move}", {})).status_code == 403
        assert (await stranger.post(f"{path}/{move}", {})).status_code == 404
    assert (await stranger.get(f"{path}/update")).status_code == 404
    assert (await owner.also("cashier").get(f"{path}/update")).status_code == 403
    assert (await owner.also("manager").get(f"{path}/update")).status_code == 200
    assert "ON_UPDATE" not in worker.hooks


async def test_of_two_updates_at_once_one_wins(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    answered = await asyncio.gather(*(owner.post(f"{path}/update", {}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answered) == [200, 409, 409, 409]
    assert worker.hooks.count("ON_UPDATE") == 1


async def test_an_update_that_a_dead_registry_left_is_taken_up_with_the_same_operation(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    gate = worker.behaviour = Gate()
    lost = asyncio.create_task(owner.post(f"{path}/update", {}))
    await gate.entered.wait()
    await make_stale(registry, path.removeprefix("/"))
    assert (await owner.post(f"{path}/deactivate")).json()["code"] == "operation_in_progress"

    worker.behaviour = SUCCEEDS
    await registry.app.state.update_keeper.turn()
    document = (await owner.get(path)).json()
    assert (document["version"], document["status"], document["updating"]) == ("1.1.0", "active", False)
    first, again = (request for request in worker.requests if request.from_version)
    assert first.operation_id == again.operation_id

    gate.opened.set()
    assert (await lost).json()["code"] == "operation_superseded"
    assert (await owner.get(path)).json()["version"] == "1.1.0"


async def test_a_worker_that_does_not_answer_is_asked_again_for_what_it_may_have_done(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0")
    operations = registry.app.state.updates._operations
    seconds, operations._call_seconds = operations._call_seconds, 0.2
    worker.behaviour = Gate()
    try:
        refused = await owner.post(f"{path}/update", {})
    finally:
        operations._call_seconds = seconds
    assert (refused.status_code, refused.json()["code"]) == (504, "deadline_exceeded")
    document = (await owner.get(path)).json()
    assert (document["version"], document["updating"], document["errors"][0]["source"]) == ("1.0.0", True, "platform")
    worker.behaviour = SUCCEEDS
    await make_stale(registry, path.removeprefix("/"))
    await registry.app.state.update_keeper.turn()
    assert (await owner.get(path)).json()["version"] == "1.1.0"
    assert len({request.operation_id for request in worker.requests if request.from_version}) == 1


async def test_a_rollback_gives_back_version_grants_and_configuration_and_runs_no_code(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id, config={"rate": 3}, grants=["sale:read"])
    await owner.registry.publish(plugin_id, "1.1.0", permissions=MORE)
    wanted = {"grants": ["sale:read", "sale:update"], "config": {"rate": 9}}
    assert (await owner.post(f"{path}/update", wanted)).json()["grants"] == ["sale:read", "sale:update"]
    hooks = list(worker.hooks)
    rolled = await owner.post(f"{path}/rollback")
    document = rolled.json()
    assert rolled.status_code == 200, rolled.text
    assert (document["version"], document["status"]) == ("1.0.0", "active")
    assert (document["grants"], document["config"]) == (["sale:read"], {"rate": 3})
    assert worker.hooks == hooks
    plan = (await owner.get(f"{path}/update")).json()
    assert (plan["state"], plan["previous"]) == ("skipped", None)
    again = await owner.post(f"{path}/rollback")
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_roll_back")


async def test_an_installation_that_onupdate_is_not_declared_for_is_updated_all_the_same(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    """The new version is loaded in any case, so a package that cannot be loaded does not become active."""
    path = await active(owner, plugin_id)
    await owner.registry.publish(plugin_id, "1.1.0", lifecycle=[])
    worker.behaviour = answers(
        pb.RunLifecycleHookResponse(failure=pb.PluginFailure(code="plugin_load_failed", message="no such module"))
    )
    assert (await owner.post(f"{path}/update", {})).status_code == 502
    assert (await owner.get(path)).json()["version"] == "1.0.0"


async def test_a_secret_of_the_way_back_outlives_the_key_that_it_was_sealed_with(
    database: Callable[[str], Awaitable[str]], workers_url: str, kafka_brokers: list[str], tmp_path: Path
) -> None:
    former, present = new_key(), new_key()
    arguments = (await database("way-back"), workers_url, kafka_brokers[0], tmp_path / "keys")
    secret = {"type": "object", "properties": {"key": {"type": "string", "format": "secret"}}}
    async with running_worker(workers_url) as worker:
        async with running_registry(*arguments, secret_keys=former) as registry:
            owner = registry.caller("owner", "acme")
            plugin_id = await registry.publish(None, "1.0.0", settingsSchema=secret)
            path = await active(owner, plugin_id, config={"key": "s3cret"})
            await registry.publish(plugin_id, "1.1.0", settingsSchema=secret)
            assert (await owner.post(f"{path}/update", {"config": {"key": "other"}})).status_code == 200
        async with running_registry(*arguments, secret_keys=f"{present},{former}"):
            pass
        async with running_registry(*arguments, secret_keys=present) as registry:
            owner = registry.caller("owner", "acme")
            assert (await owner.post(f"{path}/rollback")).json()["version"] == "1.0.0"
            await owner.post(f"{path}/deactivate")
    told = worker.calls[-1][1]
    place = SecretPlace("acme", plugin_id, path.removeprefix("/"), "key")
    assert SecretKeys.parse(present).open(told.config["key"], place) == "s3cret"
