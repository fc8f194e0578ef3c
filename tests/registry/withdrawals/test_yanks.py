"""Yanking: a publisher takes a version out of offer, and those who have it keep it."""

import pytest

from tests.registry.platform import PUBLISHER, Client, Registry
from tests.registry.worker import FakeWorker


@pytest.fixture
def publisher(registry: Registry) -> Client:
    return registry.caller("publisher", PUBLISHER)


def place(plugin_id: str, version: str) -> str:
    return f"/marketplace/{plugin_id}/versions/{version}/yank"


async def test_a_yanked_version_is_offered_to_nobody_and_goes_on_where_it_is(
    registry: Registry, publisher: Client, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await registry.publish(plugin_id, "1.1.0")
    installed = await owner.install(plugin_id)
    assert installed["version"] == "1.1.0"
    yanked = await publisher.put(place(plugin_id, "1.1.0"), {"reason": "counts twice"})
    assert (yanked.status_code, yanked.json()["latestVersion"]) == (200, "1.0.0")
    assert (await registry.caller("owner").install(plugin_id))["version"] == "1.0.0"
    (entry,) = (await owner.get("/marketplace", search=plugin_id)).json()["items"]
    assert (entry["version"], entry["versions"]) == ("1.0.0", ["1.0.0"])
    refused = await registry.caller("owner").try_install(plugin_id, version="1.1.0")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_yanked")
    assert "counts twice" in refused.json()["detail"]
    assert (await owner.post(f"/{installed['id']}/activate")).json()["status"] == "active"


async def test_a_yank_can_be_taken_back(registry: Registry, publisher: Client, owner: Client, plugin_id: str) -> None:
    yanked = await publisher.put(place(plugin_id, "1.0.0"), {"reason": "a mistake"})
    assert yanked.json()["latestVersion"] is None
    found = (await owner.get("/marketplace", search=plugin_id)).json()["items"]  # others have ids like it
    assert plugin_id not in [each["pluginId"] for each in found]
    offered = await publisher.delete(place(plugin_id, "1.0.0"))
    assert (offered.json()["yankedAt"], offered.json()["latestVersion"]) == (None, "1.0.0")
    assert len((await owner.get("/marketplace", search=plugin_id)).json()["items"]) == 1


async def test_only_its_publisher_yanks(registry: Registry, publisher: Client, plugin_id: str) -> None:
    refused = await registry.caller("publisher").put(place(plugin_id, "1.0.0"), {"reason": "envy"})
    assert (refused.status_code, refused.json()["code"]) == (403, "plugin_of_another_publisher")
    for role in ("owner", "reviewer"):
        assert (
            await registry.caller(role, PUBLISHER).put(place(plugin_id, "1.0.0"), {"reason": "x"})
        ).status_code == 403
    missing = await publisher.put(place(plugin_id, "9.9.9"), {"reason": "x"})
    assert (missing.status_code, missing.json()["code"]) == (404, "version_not_found")
