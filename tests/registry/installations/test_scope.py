"""Whose installations a caller sees and changes."""

import pytest

from tests.registry.platform import Client, Registry
from tests.registry.worker import FakeWorker


@pytest.mark.parametrize("installation", ["exists", "unknown", "malformed"])
async def test_another_organizations_installation_looks_like_none(
    registry: Registry, owner: Client, plugin_id: str, worker: FakeWorker, installation: str
) -> None:
    present = (await owner.install(plugin_id))["id"]
    ids = {"exists": present, "unknown": "4" * 8 + present[8:], "malformed": "x"}
    path = f"/{ids[installation]}"
    stranger = registry.caller("owner")
    answers = [
        await stranger.get(path),
        await stranger.get(f"{path}/stats"),
        await stranger.post(f"{path}/activate"),
        await stranger.post(f"{path}/deactivate"),
        await stranger.put(f"{path}/config", {"config": {}}),
        await stranger.delete(path),
    ]
    assert {(each.status_code, each.json()["code"], each.json()["detail"]) for each in answers} == {
        (404, "installation_not_found", "There is no such installation.")
    }
    assert (await stranger.get()).json()["items"] == []


async def test_a_stores_token_sees_what_is_in_effect_in_the_store(
    registry: Registry, owner: Client, worker: FakeWorker
) -> None:
    everywhere = (await owner.install(await registry.publish()))["id"]
    plugin_id = await registry.publish()
    here = (await owner.install(plugin_id, storeId="s1"))["id"]
    there = (await owner.install(plugin_id, storeId="s2"))["id"]
    bound = owner.also("admin", store="s1")
    assert [item["id"] for item in (await bound.get()).json()["items"]] == [everywhere, here]
    assert [(await bound.get(f"/{each}")).status_code for each in (everywhere, here, there)] == [200, 200, 404]


async def test_a_stores_token_changes_only_its_stores_installations(
    registry: Registry, owner: Client, worker: FakeWorker
) -> None:
    everywhere = (await owner.install(await registry.publish()))["id"]
    plugin_id = await registry.publish()
    bound = owner.also("admin", store="s1")
    here = await bound.install(plugin_id)
    assert here["storeId"] == "s1"
    assert (await bound.post(f"/{here['id']}/activate")).status_code == 200
    refused = await bound.post(f"/{everywhere}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_store")
    elsewhere = await bound.try_install(plugin_id, storeId="s2")
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "wrong_store")
    there = (await owner.install(plugin_id, storeId="s2"))["id"]
    assert (await bound.post(f"/{there}/activate")).status_code == 404
