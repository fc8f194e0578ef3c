"""Libraries: resolved for each installation that imports them, and never installed by themselves."""

from typing import Any

from tests.registry.dependencies.test_installing import needs
from tests.registry.packages import package
from tests.registry.platform import Client, LocalRegistry
from tests.registry.topic import following
from tests.registry.worker import FakeWorker

PURE: dict[str, Any] = {
    "category": "library", "entry": "told", "permissions": [], "settingsSchema": {}, "lifecycle": [], "hooks": [],
    "routes": [], "components": [],
}  # fmt: skip


async def publish(owner: Client, plugin_id: str | None = None, version: str = "1.0.0", **members: Any) -> str:
    """A published library."""
    return await owner.registry.publish(plugin_id, version, **(PURE | members))


def given(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["pluginId"], each["version"]) for each in document["libraries"]]


async def test_an_installation_is_given_the_highest_versions_that_fit(owner: Client, worker: FakeWorker) -> None:
    deep = await publish(owner)
    library = await publish(owner, dependencies=needs(deep))
    await publish(owner, library, "1.4.0", dependencies=needs(deep))
    await publish(owner, library, "2.0.0")
    plugin = await owner.registry.publish(dependencies=needs(library, "<2"))
    document = await owner.install(plugin)
    assert given(document) == [(deep, "1.0.0"), (library, "1.4.0")]
    assert worker.calls[-1][1].libraries[1].digest == document["libraries"][1]["digest"]
    assert [each["pluginId"] for each in (await owner.get()).json()["items"]] == [plugin]


async def test_dependants_may_have_different_versions(owner: Client, worker: FakeWorker) -> None:
    library = await publish(owner)
    await publish(owner, library, "2.0.0")
    old = await owner.install(await owner.registry.publish(dependencies=needs(library, "<2")))
    new = await owner.install(await owner.registry.publish(dependencies=needs(library, ">=2")))
    assert (given(old), given(new)) == ([(library, "1.0.0")], [(library, "2.0.0")])


async def test_a_new_version_of_a_library_comes_with_an_update_and_goes_with_a_rollback(
    owner: Client, worker: FakeWorker
) -> None:
    library = await publish(owner)
    plugin = await owner.registry.publish(dependencies=needs(library))
    path = f"/{(await owner.install(plugin))['id']}"
    await publish(owner, library, "1.1.0")
    assert given((await owner.get(path)).json()) == [(library, "1.0.0")]
    await owner.registry.publish(plugin, "1.0.1", dependencies=needs(library))
    assert given((await owner.post(f"{path}/update", {})).json()) == [(library, "1.1.0")]
    assert worker.calls[-1][1].libraries[0].version == "1.1.0"
    assert given((await owner.post(f"{path}/rollback")).json()) == [(library, "1.0.0")]


async def test_a_library_is_not_installed_and_what_cannot_be_had_is_refused(owner: Client, worker: FakeWorker) -> None:
    library = await publish(owner)
    refused = await owner.try_install(library)
    assert (refused.status_code, refused.json()["code"]) == (409, "library_not_installable")
    plugin = await owner.registry.publish(dependencies=needs(library, ">=2"))
    refused = await owner.try_install(plugin)
    assert (refused.status_code, refused.json()["code"]) == (409, "dependency_conflict")
    assert refused.json()["chains"] == [f"{plugin} 1.0.0 -> {library} >=2"]
    assert (await owner.get("/install/plan", pluginId=plugin)).json()["code"] == "dependency_conflict"
    assert worker.calls == []


async def test_a_library_that_declares_something_for_itself_is_not_published(owner: Client) -> None:
    publisher = owner.registry.caller("publisher")
    for members in ({"hooks": [{"event": "sale.created"}]}, {"permissions": [{"name": "sale:read", "purpose": "x"}]}):
        refused = await publisher.publish(package("sly-library", **(PURE | members)))
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_package")
        assert "a library has none" in refused.text


async def test_a_library_that_is_revoked_stops_what_imports_it_until_another_one_comes(
    registry: LocalRegistry, owner: Client, worker: FakeWorker
) -> None:
    reviewer = registry.caller("reviewer")
    library = await publish(owner)
    plugin, other = await registry.publish(dependencies=needs(library)), await registry.publish()
    path = f"/{(await owner.install(plugin))['id']}"
    apart = f"/{(await owner.install(other))['id']}"
    for each in (path, apart):
        assert (await owner.post(f"{each}/activate")).status_code == 200
    revoked = await reviewer.put(f"/marketplace/{library}/versions/1.0.0/revocation", {"reason": "steals"})
    assert (revoked.status_code, revoked.json()["installations"]) == (200, 1)
    async with following(registry.settings.kafka_bootstrap) as topic:
        last = {f"/{record.key}": record.installation for record in await topic.to_end()}
    stopped, going_on = last[path], last[apart]
    assert stopped is not None
    assert going_on is not None
    assert (stopped.status, stopped.revoked, stopped.backlog) == (
        "error", f"its library {library} 1.0.0: steals", "pause"
    )  # fmt: skip
    assert (going_on.status, going_on.revoked) == ("active", None)
    assert (await owner.post(f"{path}/deactivate")).status_code == 200
    refused = await owner.post(f"{path}/activate")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_revoked")
    await publish(owner, library, "1.0.1")
    await registry.publish(plugin, "1.0.1", dependencies=needs(library))
    updated = await owner.post(f"{path}/update", {})
    assert given(updated.json()) == [(library, "1.0.1")]
    assert (await owner.post(f"{path}/activate")).json()["status"] == "active"
