"""The kill switch: what a reviewer stops is announced as stopped at once, everywhere, and how far that has come."""

from typing import Any
from uuid import uuid4

import pytest

from services.common.directory import Installation
from tests.registry.platform import PUBLISHER, Client, LocalRegistry, Registry
from tests.registry.topic import following
from tests.registry.worker import FakeWorker


@pytest.fixture
def reviewer(registry: Registry) -> Client:
    return registry.caller("reviewer")


def place(plugin_id: str, version: str = "1.0.0") -> str:
    return f"/marketplace/{plugin_id}/versions/{version}/revocation"


async def announced(registry: LocalRegistry, installation_id: str, *, revoked: bool) -> Installation:
    async with following(registry.settings.kafka_bootstrap) as topic:
        found = await topic.until(
            lambda record: (
                record.key == installation_id
                and record.installation is not None
                and (record.installation.revoked is not None) is revoked
            )
        )
    assert found.installation is not None
    return found.installation


async def active(owner: Client, plugin_id: str) -> dict[str, Any]:
    installed = await owner.install(plugin_id)
    assert (await owner.post(f"/{installed['id']}/activate")).status_code == 200
    return installed


async def test_every_installation_is_announced_as_stopped_and_its_events_are_kept(
    registry: LocalRegistry, reviewer: Client, plugin_id: str, worker: FakeWorker
) -> None:
    owners = [registry.caller("owner") for _ in range(3)]
    installed = [await active(owner, plugin_id) for owner in owners]
    answer = await reviewer.put(place(plugin_id), {"reason": "it sends receipts elsewhere"})
    assert (answer.status_code, answer.json()["installations"]) == (200, 3)
    for each in installed:
        stopped = await announced(registry, each["id"], revoked=True)
        assert (stopped.revoked, stopped.status, stopped.listens) == ("it sends receipts elsewhere", "error", True)
    shown = await owners[0].read(installed[0]["id"])
    assert (shown["status"], shown["revoked"]) == ("error", "it sends receipts elsewhere")
    assert "revoked" in shown["statusReason"]
    for status, count in (("active", 0), ("error", 1)):
        assert len((await owners[0].get("", status=status)).json()["items"]) == count


async def test_convergence_is_told_from_the_leases_of_workers(
    registry: Registry, reviewer: Client, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    await active(owner, plugin_id)
    worker.directory_revision = 0
    await worker.lease.renew()
    revoked = (await reviewer.put(place(plugin_id), {"reason": "bad"})).json()
    assert revoked["rollout"] == {"workers": 1, "live": 0, "sandboxTier": "B"}
    worker.directory_revision = 2**40
    await worker.lease.renew()
    read = (await reviewer.get(place(plugin_id))).json()
    assert (read["rollout"]["live"], read["rollout"]["workers"], read["installations"]) == (1, 1, 1)
    assert read["revokedBy"] == f"reviewer@{reviewer.organization}"


async def test_a_revoked_version_is_neither_installed_nor_activated_nor_offered(
    registry: Registry, reviewer: Client, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id)
    await registry.publish(plugin_id, "1.1.0")
    assert (await reviewer.put(place(plugin_id, "1.1.0"), {"reason": "bad"})).status_code == 200
    other = registry.caller("owner")
    assert (await other.install(plugin_id))["version"] == "1.0.0"
    refused = await registry.caller("owner").try_install(plugin_id, version="1.1.0")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_revoked")
    await reviewer.put(place(plugin_id), {"reason": "bad too"})
    refused = await owner.post(f"/{installed['id']}/activate")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_revoked")
    found = (await owner.get("/marketplace", search=plugin_id)).json()["items"]  # others have ids like it
    assert plugin_id not in [each["pluginId"] for each in found]
    refused = await registry.caller("owner").try_install(plugin_id)
    assert (refused.status_code, refused.json()["code"]) == (404, "plugin_not_found")


async def test_a_lifted_revocation_gives_each_installation_its_state_back(
    registry: LocalRegistry, reviewer: Client, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    running, idle = await active(owner, plugin_id), await registry.caller("owner").install(plugin_id)
    await reviewer.put(place(plugin_id), {"reason": "bad"})
    stopped = await announced(registry, idle["id"], revoked=True)
    assert (stopped.status, stopped.listens) == ("inactive", False)
    lifted = await reviewer.delete(place(plugin_id))
    assert (lifted.status_code, lifted.json()["revokedAt"]) == (200, None)
    assert (await owner.read(running["id"]))["status"] == "active"
    async with following(registry.settings.kafka_bootstrap) as topic:
        last = [record for record in await topic.to_end() if record.key == running["id"]][-1]
    assert last.installation is not None
    assert (last.installation.status, last.installation.revoked) == ("active", None)


async def test_a_revoked_plugin_can_be_deactivated_and_removed(
    reviewer: Client, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await active(owner, plugin_id)
    await reviewer.put(place(plugin_id), {"reason": "bad"})
    assert (await owner.post(f"/{installed['id']}/deactivate?backlog=drain")).status_code == 200
    assert worker.calls[-1][1].revoked == "bad"
    assert worker.calls[-1][1].backlog == "pause"
    assert (await owner.delete(f"/{installed['id']}")).status_code == 204


async def test_a_version_that_nobody_has_is_stopped_as_soon_as_it_is_revoked(
    reviewer: Client, plugin_id: str, worker: FakeWorker
) -> None:
    revoked = (await reviewer.put(place(plugin_id), {"reason": "bad"})).json()
    assert (revoked["installations"], revoked["rollout"]["live"]) == (0, revoked["rollout"]["workers"])


async def test_only_reviewers_revoke(registry: Registry, plugin_id: str) -> None:
    for role in ("owner", "admin", "manager", "cashier", "publisher"):
        caller = registry.caller(role, PUBLISHER)
        assert (await caller.put(place(plugin_id), {"reason": "envy"})).status_code == 403
        assert (await caller.delete(place(plugin_id))).status_code == 403
        assert (await caller.get(place(plugin_id))).status_code == 403


async def test_where_an_operator_is_named_only_its_reviewers_decide(registry: LocalRegistry, plugin_id: str) -> None:
    registry.app.state.operator_organization = "the-operator"
    try:
        refused = await registry.caller("reviewer", "acme").put(place(plugin_id), {"reason": "bad"})
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_organization")
        assert (await registry.caller("reviewer", "the-operator").get(place(plugin_id))).status_code == 200
    finally:
        registry.app.state.operator_organization = None


async def test_what_does_not_exist_cannot_be_revoked(reviewer: Client, plugin_id: str) -> None:
    for path in (place(f"none-{uuid4().hex}"), place(plugin_id, "9.9.9")):
        refused = await reviewer.put(path, {"reason": "bad"})
        assert (refused.status_code, refused.json()["code"]) == (404, "version_not_found")
    assert (await reviewer.put(place(plugin_id), {"reason": ""})).status_code == 422
