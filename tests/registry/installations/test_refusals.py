"""What cannot be installed, configured or moved, and that nothing is kept of the attempt."""

from typing import Any

import pytest

from tests.registry.platform import Client, Registry
from tests.registry.worker import FakeWorker


async def assert_refused(caller: Client, status: int, code: str, plugin_id: str, **members: Any) -> dict[str, Any]:
    before = (await caller.also("owner").get()).json()["items"]
    refused = await caller.try_install(plugin_id, **members)
    problem: dict[str, Any] = refused.json()
    assert (refused.status_code, problem["code"]) == (status, code), refused.text
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (await caller.also("owner").get()).json()["items"] == before
    return problem


async def test_unknown_plugins_and_versions(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    await assert_refused(owner, 404, "plugin_not_found", "no-such-plugin")
    await assert_refused(owner, 404, "version_not_found", plugin_id, version="9.9.9")
    assert worker.calls == []


async def test_a_configuration_against_the_schema(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    problem = await assert_refused(owner, 422, "invalid_config", plugin_id, config={"rate": -1, "other": True})
    assert {error["path"] for error in problem["errors"]} == {"$", "$.rate"}
    path = f"/{(await owner.install(plugin_id))['id']}"
    refused = await owner.put(f"{path}/config", {"config": {"label": "x" * 21}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_config")
    assert (await owner.get(path)).json()["config"] == {"rate": 1}


async def test_permissions_that_the_plugin_does_not_ask_for(owner: Client, plugin_id: str) -> None:
    await assert_refused(owner, 422, "invalid_grants", plugin_id, grants=["sale:read", "everything"])


@pytest.mark.parametrize(
    "members", [{"config": []}, {"storeId": ""}, {"storeId": "a\0b"}, {"unknown": 1}, {"version": 1}]
)
async def test_requests_of_another_shape(owner: Client, plugin_id: str, members: dict[str, Any]) -> None:
    await assert_refused(owner, 422, "invalid_request", plugin_id, **members)


async def test_numbers_that_json_does_not_have(owner: Client, plugin_id: str) -> None:
    body = f'{{"pluginId": "{plugin_id}", "config": {{"rate": NaN}}}}'
    refused = await owner.send("/install", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_config")


@pytest.mark.parametrize(("first", "second"), [(None, None), (None, "s1"), ("s1", None), ("s1", "s1")])
async def test_an_overlapping_installation(
    owner: Client, plugin_id: str, worker: FakeWorker, first: str | None, second: str | None
) -> None:
    present = await owner.install(plugin_id, storeId=first)
    problem = await assert_refused(owner, 409, "already_installed", plugin_id, storeId=second)
    assert problem["installationId"] == present["id"]


async def test_other_stores_and_organizations_do_not_overlap(
    registry: Registry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await owner.install(plugin_id, storeId="s1")
    await owner.install(plugin_id, storeId="s2")
    await registry.caller("owner").install(plugin_id)


async def test_illegal_moves_say_what_is_legal(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    refused = await owner.post(f"{path}/deactivate")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "illegal_transition")
    assert problem["presentStatus"] == "inactive"
    assert problem["legalMoves"] == ["activate", "configure", "roll back", "uninstall", "update"]
    await owner.post(f"{path}/activate")
    active = await owner.delete(path)
    assert (active.status_code, active.json()["remedy"][:20]) == (409, "Deactivate it first.")
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE"]


async def test_missing_dependencies(registry: Registry, owner: Client, worker: FakeWorker) -> None:
    needed = await registry.publish()
    wanting = await registry.publish(dependencies=[{"pluginId": needed, "version": ">=1.0,<2"}])
    problem = await assert_refused(owner, 409, "dependencies_missing", wanting)
    assert problem["missing"] == [{"pluginId": needed, "version": ">=1.0,<2", "installed": None}]

    await owner.install(needed, storeId="s1")
    await assert_refused(owner, 409, "dependencies_missing", wanting)  # it would be missing in the other stores
    await owner.install(wanting, storeId="s1")


async def test_a_dependency_of_another_version(registry: Registry, owner: Client, worker: FakeWorker) -> None:
    needed = await registry.publish(version="2.0.0")
    wanting = await registry.publish(dependencies=[{"pluginId": needed, "version": "<2"}])
    await owner.install(needed)
    problem = await assert_refused(owner, 409, "dependencies_missing", wanting)
    assert problem["missing"][0]["installed"] == "2.0.0"


@pytest.mark.parametrize("role", ["manager", "cashier", "publisher"])
async def test_roles_that_do_not_manage(owner: Client, plugin_id: str, worker: FakeWorker, role: str) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    caller = owner.also(role)
    attempts = [
        await caller.try_install(plugin_id),
        await caller.post(f"{path}/activate"),
        await caller.post(f"{path}/deactivate"),
        await caller.delete(path),
        await caller.put(f"{path}/config", {"config": {}}),
    ]
    assert {(attempt.status_code, attempt.json()["code"]) for attempt in attempts} == {(403, "forbidden")}
    assert (await caller.get(path)).status_code == (200 if role == "manager" else 403)


async def test_bodies_nested_without_end(owner: Client, plugin_id: str) -> None:
    for depth, status in ((900, 422), (100_000, 400)):
        nested = "[" * depth + "]" * depth
        refused = await owner.send("/install", f'{{"pluginId": "{plugin_id}", "config": {{"key": {nested}}}}}')
        assert refused.status_code == status, refused.text


async def test_requests_without_a_token(registry: Registry) -> None:
    for path in ("/api/plugins", "/api/plugins/marketplace"):
        refused = await registry.http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
