"""Plugins that need each other: installed together, and not taken away from under each other."""

from typing import Any
from uuid import uuid4

from services.common.directory import Installation
from tests.registry.platform import Client
from tests.registry.worker import SUCCEEDS, FakeWorker, failure


def needs(plugin_id: str, version: str = ">=1") -> list[dict[str, str]]:
    return [{"pluginId": plugin_id, "version": version}]


async def chain(owner: Client) -> tuple[str, str, str]:
    """Three plugins: the first needs the second, which needs the third."""
    third = await owner.registry.publish()
    second = await owner.registry.publish(dependencies=needs(third))
    return await owner.registry.publish(dependencies=needs(second)), second, third


async def installed(owner: Client, **wanted: Any) -> list[str]:
    return [each["pluginId"] for each in (await owner.get("", **wanted)).json()["items"]]


async def active_chain(owner: Client) -> list[str]:
    """The paths of a chain's installations, all active, in the order of :func:`chain`."""
    plugins = await chain(owner)
    await owner.install(plugins[0], withDependencies=True)
    ids = {each["pluginId"]: each["id"] for each in (await owner.get()).json()["items"]}
    paths = [f"/{ids[plugin_id]}" for plugin_id in plugins]
    for path in reversed(paths):
        assert (await owner.post(f"{path}/activate")).json()["status"] == "active"
    return paths


async def test_a_plan_says_what_else_is_needed_and_what_of_it_is_there(owner: Client, worker: FakeWorker) -> None:
    first, second, third = await chain(owner)
    await owner.install(third)
    plan = (await owner.get("/install/plan", pluginId=first)).json()
    assert [(each["pluginId"], each["version"], each["installed"]) for each in plan["needs"]] == [
        (third, "1.0.0", True),
        (second, "1.0.0", False),
    ]
    assert plan["needs"][1]["wishes"][0] == {"name": "sale:read", "purpose": "to count them"}
    assert await installed(owner) == [third]


async def test_what_is_missing_is_installed_with_it_when_that_is_asked_for(owner: Client, worker: FakeWorker) -> None:
    first, second, third = await chain(owner)
    assert (await owner.try_install(first)).json()["code"] == "dependencies_missing"
    document = await owner.install(first, withDependencies=True, storeId="s1")
    assert document["pluginId"] == first
    assert await installed(owner) == [third, second, first]
    assert {told.store_id for _, told in worker.calls} == {"s1"}


async def test_when_one_of_them_fails_the_same_request_goes_on_from_there(owner: Client, worker: FakeWorker) -> None:
    first, second, third = await chain(owner)

    async def second_fails(_: str, told: Installation) -> Any:
        return failure() if told.plugin_id == second else await SUCCEEDS(_, told)

    worker.behaviour = second_fails
    assert (await owner.try_install(first, withDependencies=True)).status_code == 502
    assert [each["status"] for each in (await owner.get()).json()["items"]] == ["inactive", "error"]
    worker.behaviour = SUCCEEDS
    await owner.install(first, withDependencies=True)
    assert [told.plugin_id for _, told in worker.calls] == [third, second, second, first]


async def test_what_cannot_be_resolved_is_refused_before_anything_is_installed(
    owner: Client, worker: FakeWorker
) -> None:
    shared = await owner.registry.publish()
    await owner.registry.publish(shared, "2.0.0")
    old = await owner.registry.publish(dependencies=needs(shared, "<2"))
    wanting = await owner.registry.publish(dependencies=[*needs(old), *needs(shared, ">=2")])
    refused = await owner.try_install(wanting, withDependencies=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "dependency_conflict")
    assert f"{wanting} 1.0.0 -> {old} 1.0.0 -> {shared} <2" in refused.json()["chains"]
    assert (await owner.get("/install/plan", pluginId=wanting)).json()["code"] == "dependency_conflict"

    one, other = (f"circle-{uuid4().hex[:8]}" for _ in range(2))
    await owner.registry.publish(one, dependencies=needs(other))
    await owner.registry.publish(other, dependencies=needs(one))
    assert (await owner.try_install(one, withDependencies=True)).json()["code"] == "dependency_cycle"

    schema = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    strict = await owner.registry.publish(settingsSchema=schema)
    above = await owner.registry.publish(dependencies=[*needs(await owner.registry.publish()), *needs(strict)])
    assert (await owner.try_install(above, withDependencies=True)).json()["code"] == "invalid_config"
    assert worker.calls == []


async def test_what_others_need_is_neither_stopped_nor_removed(owner: Client, worker: FakeWorker) -> None:
    first, second, third = await active_chain(owner)
    hooks = list(worker.hooks)
    refused = await owner.post(f"{third}/deactivate")
    assert (refused.status_code, refused.json()["code"]) == (409, "needed_by_others")
    assert [f"/{each['installationId']}" for each in refused.json()["dependants"]] == [second]
    assert worker.hooks == hooks
    for path in (first, second, third):
        assert (await owner.post(f"{path}/deactivate")).status_code == 200
    refused = await owner.delete(third, force=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "needed_by_others")
    assert (await owner.delete(first)).status_code == 204


async def test_with_cascade_what_needs_it_goes_first(owner: Client, worker: FakeWorker) -> None:
    first, second, third = await active_chain(owner)
    worker.calls.clear()
    stopped = await owner.post(f"{third}/deactivate?cascade=true")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "inactive")
    assert [f"/{told.id}" for _, told in worker.calls] == [first, second, third]
    await owner.post(f"{first}/activate")
    worker.calls.clear()
    assert (await owner.delete(third, cascade=True)).status_code == 204
    assert [(hook, f"/{told.id}") for hook, told in worker.calls] == [
        ("ON_DEACTIVATE", first),
        ("ON_UNINSTALL", first),
        ("ON_UNINSTALL", second),
        ("ON_UNINSTALL", third),
    ]
    assert await installed(owner) == []


async def test_a_cascade_that_could_not_reach_its_end_does_not_begin(owner: Client, worker: FakeWorker) -> None:
    *_, third = await active_chain(owner)
    worker.calls.clear()
    assert (await owner.delete(third, cascade=True)).json()["code"] == "illegal_transition"  # it is active
    assert (await owner.also("owner", store="s9").post(f"{third}/deactivate?cascade=true")).status_code == 403
    assert worker.calls == []


async def test_an_update_keeps_to_what_dependants_accept_and_what_the_new_version_needs(
    owner: Client, worker: FakeWorker
) -> None:
    needed = await owner.registry.publish()
    document = await owner.install(needed)
    await owner.install(await owner.registry.publish(dependencies=needs(needed, "<2")))
    await owner.registry.publish(needed, "2.0.0")
    refused = await owner.post(f"/{document['id']}/update", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "dependants_refuse")
    await owner.registry.publish(needed, "1.1.0", dependencies=needs("nobody-has-this"))
    refused = await owner.post(f"/{document['id']}/update", {"version": "1.1.0"})
    assert refused.json()["code"] == "dependencies_missing"
    assert "ON_UPDATE" not in worker.hooks
