"""Lifecycle operations: what a worker is asked, and what each outcome leaves behind."""

import asyncio
from typing import Any

import asyncpg
import pytest

from proto import runtime_pb2 as pb
from services.common.directory import Installation
from tests.registry.platform import Client, LocalRegistry
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker, answers, failure, running_worker, sets_config


async def test_an_installed_plugin_shows_everything_about_itself(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.try_install(plugin_id, config={"rate": 2})
    document = installed.json()
    assert installed.headers["Location"] == f"/api/plugins/{document['id']}"
    expected = {
        "pluginId": plugin_id,
        "version": "1.0.0",
        "author": "Tests",
        "description": "Does as it is told.",
        "organizationId": owner.organization,
        "storeId": None,
        "config": {"rate": 2},
        "grants": ["sale:read", "customer:read"],
        "category": "loyalty",
        "tags": ["test"],
        "icon": None,
        "homepage": None,
        "repository": None,
        "license": None,
        "status": "inactive",
        "statusReason": None,
        "installedBy": f"owner@{owner.organization}",
        "lastActivatedAt": None,
        "lastDeactivatedAt": None,
        "errors": [],
        "stats": {
            "activations": 0,
            "apiCalls": 0,
            "routeCalls": 0,
            "hookRuns": 0,
            "hookErrors": 0,
            "lastUsed": None,
        },
        "dependencies": [],
    }
    assert {key: document[key] for key in expected} == expected
    assert document["installedAt"] is not None
    assert document["capabilities"]["hooks"] == ["sale.created"]
    assert document["settingsSchema"]["type"] == "object"
    assert document == await owner.read(document["id"])


async def test_the_worker_is_told_the_installation_as_it_is_being_installed(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    document = await owner.install(plugin_id, storeId="s1", config={"label": "x"}, grants=["customer:read"])
    ((hook, told),) = worker.calls
    assert hook == "ON_INSTALL"
    assert (told.id, told.status, told.store_id) == (document["id"], "installing", "s1")
    assert told.config == {"rate": 1, "label": "x"}
    assert told.grants == ("customer:read",)
    assert told.manifest.plugin_id == plugin_id
    assert told.revision < document["revision"]


async def test_activation_and_deactivation_are_dated_and_counted(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    await owner.post(f"{path}/activate")
    await owner.post(f"{path}/deactivate")
    document = (await owner.post(f"{path}/activate")).json()
    assert document["stats"]["activations"] == 2
    assert document["lastDeactivatedAt"] < document["lastActivatedAt"]
    stats = (await owner.get(f"{path}/stats")).json()
    assert (stats["activations"], stats["status"], stats["errors"]) == (2, "active", 0)
    assert stats["lastActivatedAt"] == document["lastActivatedAt"]


async def test_a_failing_on_install_is_recorded_and_can_be_tried_again(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = FAILS
    refused = await owner.try_install(plugin_id)
    problem = refused.json()
    assert refused.status_code == 502
    assert (problem["code"], problem["source"]) == ("lifecycle_hook_failed", "plugin")
    assert (problem["pluginCode"], problem["pluginMessage"]) == ("plugin_raised", "it broke")
    assert "secret" not in refused.text

    document = await owner.read(problem["installationId"])
    assert (document["status"], document["installedAt"]) == ("error", None)
    assert document["statusReason"] == "onInstall failed: plugin_raised: it broke"
    (error,) = document["errors"]
    assert (error["source"], error["during"], error["code"]) == ("plugin", "onInstall", "plugin_raised")
    assert "secret" in error["stack"]
    assert document["stats"]["hookErrors"] == 1

    worker.behaviour = SUCCEEDS
    again = await owner.install(plugin_id, config={"rate": 3})
    assert again["id"] == problem["installationId"]
    assert (again["status"], again["statusReason"], again["config"]) == ("inactive", None, {"rate": 3})
    assert len(again["errors"]) == 1


async def test_a_retry_may_take_a_corrected_version(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    worker.behaviour = FAILS
    await owner.try_install(plugin_id)
    await owner.registry.publish(plugin_id, "1.0.1")
    worker.behaviour = SUCCEEDS
    assert (await owner.install(plugin_id))["version"] == "1.0.1"


async def test_stacks_are_shown_to_owners_and_admins_only(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    worker.behaviour = FAILS
    installation_id = (await owner.try_install(plugin_id)).json()["installationId"]
    for role, shown in (("admin", True), ("manager", False)):
        caller = owner.also(role)
        document = await caller.read(installation_id)
        stats = (await caller.get(f"/{installation_id}/stats")).json()
        assert (document["errors"][0]["stack"] is not None) is shown
        assert (stats["lastErrors"][0]["stack"] is not None) is shown


@pytest.mark.parametrize(("move", "status"), [("activate", "inactive"), ("deactivate", "active")])
async def test_a_failing_hook_leads_to_error_from_where_it_goes_on(
    owner: Client, plugin_id: str, worker: FakeWorker, move: str, status: str
) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    if status == "active":
        await owner.post(f"{path}/activate")
    worker.behaviour = FAILS
    assert (await owner.post(f"{path}/{move}")).status_code == 502
    assert (await owner.get(path)).json()["status"] == "error"
    worker.behaviour = SUCCEEDS
    assert (await owner.post(f"{path}/activate")).json()["status"] == "active"


async def test_a_failing_on_uninstall_keeps_the_installation_unless_forced(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    worker.behaviour = FAILS
    assert (await owner.delete(path)).json()["code"] == "lifecycle_hook_failed"
    assert (await owner.get(path)).json()["status"] == "error"
    assert (await owner.delete(path, force=True)).status_code == 204
    assert [request.ignore_failure for request in worker.requests] == [False, False, True]
    assert (await owner.get(path)).status_code == 404


async def test_what_was_never_installed_can_be_removed_although_its_hook_fails(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = FAILS
    installation_id = (await owner.try_install(plugin_id)).json()["installationId"]
    assert (await owner.delete(f"/{installation_id}")).status_code == 204


async def test_a_hook_may_change_the_configuration(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    worker.behaviour = sets_config({"rate": 7, "label": "set"})
    assert (await owner.install(plugin_id))["config"] == {"rate": 7, "label": "set"}


@pytest.mark.parametrize("config", [{"rate": "seven"}, ["no", "object"], {"rate": 1, "label": "\0"}])
async def test_a_hook_that_sets_a_bad_configuration_has_failed(
    owner: Client, plugin_id: str, worker: FakeWorker, config: Any
) -> None:
    worker.behaviour = sets_config(config)
    problem = (await owner.try_install(plugin_id)).json()
    assert (problem["code"], problem["pluginCode"]) == ("lifecycle_hook_failed", "plugin_bad_result")
    assert (await owner.read(problem["installationId"]))["config"] == {"rate": 1}


async def test_whatever_a_plugin_says_of_its_failure_is_kept_within_bounds(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = answers(failure("\0" + "x" * 100_000))
    problem = (await owner.try_install(plugin_id)).json()
    assert len(problem["pluginMessage"]) == 500
    (error,) = (await owner.read(problem["installationId"]))["errors"]
    assert len(error["message"]) == 2_000


async def test_without_a_worker_nothing_is_changed_and_the_next_try_works(
    owner: Client, plugin_id: str, workers_url: str
) -> None:
    refused = await owner.try_install(plugin_id)
    assert (refused.status_code, refused.json()["code"]) == (503, "no_worker")
    assert (await owner.get()).json()["items"] == []

    async with running_worker(workers_url):
        document = await owner.install(plugin_id)
        path = f"/{document['id']}"
    for method, where in ((owner.post, f"{path}/activate"), (owner.delete, path)):
        assert (await method(where)).status_code == 503
        after = await owner.read(document["id"])
        assert (after["status"], after["statusReason"], after["errors"]) == ("inactive", None, [])

    async with running_worker(workers_url):
        assert (await owner.post(f"{path}/activate")).json()["status"] == "active"


async def test_a_retry_that_reaches_no_worker_restores_the_failed_attempt(
    owner: Client, plugin_id: str, workers_url: str
) -> None:
    async with running_worker(workers_url) as worker:
        worker.behaviour = FAILS
        installation_id = (await owner.try_install(plugin_id)).json()["installationId"]
    before = await owner.read(installation_id)
    await owner.registry.publish(plugin_id, "1.0.1")
    assert (await owner.try_install(plugin_id, config={"rate": 9})).status_code == 503
    after = await owner.read(installation_id)
    volatile = {"revision", "rollout"}
    assert {key: after[key] for key in after.keys() - volatile} == {
        key: before[key] for key in before.keys() - volatile
    }


class Gate:
    """A behaviour that holds the call until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: str, __: Installation) -> pb.RunLifecycleHookResponse:
        self.entered.set()
        await self.opened.wait()
        return pb.RunLifecycleHookResponse()


async def test_while_an_operation_runs_all_others_are_refused(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    gate = worker.behaviour = Gate()
    activating = asyncio.create_task(owner.post(f"{path}/activate"))
    await gate.entered.wait()
    others = [
        await owner.post(f"{path}/activate"),
        await owner.delete(path),
        await owner.put(f"{path}/config", {"config": {}}),
        await owner.try_install(plugin_id),
    ]
    assert [(other.status_code, other.json()["code"]) for other in others] == [(409, "operation_in_progress")] * 4
    gate.opened.set()
    assert (await activating).json()["status"] == "active"


async def test_of_many_activations_at_once_one_wins(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    path = f"/{(await owner.install(plugin_id))['id']}"
    answered = await asyncio.gather(*(owner.post(f"{path}/activate") for _ in range(8)))
    assert sorted(answer.status_code for answer in answered) == [200] + [409] * 7
    assert worker.hooks.count("ON_ACTIVATE") == 1


async def test_of_many_installations_at_once_one_wins(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    stores: list[dict[str, str]] = [{}, {"storeId": "s1"}, {}, {"storeId": "s1"}]
    answered = await asyncio.gather(*(owner.try_install(plugin_id, **store) for store in stores))
    assert sorted(answer.status_code for answer in answered) == [201, 409, 409, 409]
    assert worker.hooks == ["ON_INSTALL"]


async def test_an_operation_that_a_dead_registry_left_is_taken_over_later(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    gate = worker.behaviour = Gate()
    installing = asyncio.create_task(owner.try_install(plugin_id))
    await gate.entered.wait()
    (abandoned,) = (await owner.get()).json()["items"]
    assert abandoned["status"] == "installing"
    await make_stale(registry, abandoned["id"])
    worker.behaviour = SUCCEEDS
    document = await owner.install(plugin_id)
    assert (document["id"], document["status"]) == (abandoned["id"], "inactive")

    gate.opened.set()  # the first registry was only slow: its result comes too late to count
    late = await installing
    assert (late.status_code, late.json()["code"]) == (409, "operation_superseded")
    assert (await owner.read(document["id"]))["status"] == "inactive"


async def test_a_worker_that_does_not_answer_is_given_up(registry: LocalRegistry, worker: FakeWorker) -> None:
    owner = registry.caller("owner")
    plugin_id = await registry.publish()
    operations = registry.app.state.installations._operations
    seconds, operations._call_seconds = operations._call_seconds, 0.2
    worker.behaviour = Gate()
    try:
        refused = await owner.try_install(plugin_id)
    finally:
        operations._call_seconds = seconds
    assert (refused.status_code, refused.json()["code"]) == (504, "deadline_exceeded")
    document = await owner.read(refused.json()["installationId"])
    assert (document["status"], document["errors"][0]["source"]) == ("error", "platform")


async def make_stale(registry: LocalRegistry, installation_id: str) -> None:
    """As if the operation had begun long ago."""
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    await connection.execute(
        "UPDATE installation SET operation_started_at = now() - interval '1 hour' WHERE id = $1", installation_id
    )
    await connection.close()
