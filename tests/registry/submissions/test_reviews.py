"""From a publisher's wish to offer a version to everyone to a reviewer's decision, and who can install it meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.registry.packages import package
from tests.registry.platform import Client, Registry, running_registry
from tests.registry.worker import FakeWorker


@pytest.fixture(scope="module")
async def registry(
    database: Callable[[str], Awaitable[str]],
    workers_url: str,
    registry_bootstrap: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Registry]:
    """A registry where reviewers decide."""
    directory = tmp_path_factory.mktemp("issuer") / "keys"
    dsn = await database("reviewed")
    async with running_registry(dsn, workers_url, registry_bootstrap, directory, review="required") as running:
        yield running


@pytest.fixture
def publisher(registry: Registry) -> Client:
    return registry.caller("publisher")


@pytest.fixture
def reviewer(registry: Registry) -> Client:
    return registry.caller("reviewer")


@pytest.fixture
def owner(registry: Registry) -> Client:
    return registry.caller("owner")


@pytest.fixture
async def submitted(publisher: Client) -> str:
    """A plugin that waits for a reviewer."""
    plugin_id = f"plugin-{uuid4().hex[:8]}"
    assert (await publisher.publish(package(plugin_id))).status_code == 201
    return plugin_id


def place(plugin_id: str, version: str = "1.0.0") -> str:
    return f"/marketplace/{plugin_id}/versions/{version}/submission"


APPROVED = {"decision": "approve", "comment": "well done"}


async def listed(caller: Client, plugin_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await caller.get("/marketplace", search=plugin_id)).json()["items"]
    return items


async def test_what_waits_for_review_is_the_publishers_own(
    publisher: Client, owner: Client, submitted: str, worker: FakeWorker
) -> None:
    assert await listed(owner, submitted) == []
    for wanted in ({}, {"version": "1.0.0"}):
        refused = await owner.try_install(submitted, **wanted)
        assert refused.status_code == 404
    (entry,) = await listed(publisher, submitted)
    assert entry["level"] == "private"
    assert (await publisher.also("owner").install(submitted))["version"] == "1.0.0"


async def test_an_approved_version_is_everyones(
    reviewer: Client, publisher: Client, owner: Client, submitted: str, worker: FakeWorker
) -> None:
    decided = await reviewer.put(f"{place(submitted)}/decision", APPROVED)
    assert (decided.status_code, decided.json()["status"], decided.json()["level"]) == (200, "approved", "community")
    (entry,) = await listed(owner, submitted)
    assert (entry["level"], entry["versions"]) == ("community", ["1.0.0"])
    assert (await owner.install(submitted))["version"] == "1.0.0"
    read = (await publisher.get(place(submitted))).json()
    assert (read["comment"], read["decidedBy"]) == ("well done", f"reviewer@{reviewer.organization}")


async def test_a_refused_version_stays_private_and_a_decision_can_be_changed(
    reviewer: Client, owner: Client, submitted: str
) -> None:
    refusal = {"decision": "refuse", "comment": "says nothing of what it sends"}
    assert (await reviewer.put(f"{place(submitted)}/decision", refusal)).json()["level"] == "private"
    assert await listed(owner, submitted) == []
    verified = await reviewer.put(f"{place(submitted)}/decision", {**APPROVED, "level": "verified"})
    assert verified.json()["level"] == "verified"
    assert [entry["level"] for entry in await listed(owner, submitted)] == ["verified"]
    await reviewer.put(f"{place(submitted)}/decision", refusal)
    assert await listed(owner, submitted) == []


async def test_an_unreviewed_version_does_not_take_the_place_of_a_reviewed_one(
    registry: Registry, reviewer: Client, publisher: Client, owner: Client, submitted: str
) -> None:
    await reviewer.put(f"{place(submitted)}/decision", APPROVED)
    await publisher.publish(package(submitted, "1.1.0"))
    (theirs,), (own,) = await listed(owner, submitted), await listed(publisher, submitted)
    assert (theirs["version"], theirs["versions"]) == ("1.0.0", ["1.0.0"])
    assert (own["version"], own["versions"]) == ("1.1.0", ["1.1.0", "1.0.0"])


async def test_the_queue_tells_reviewers_what_was_found_and_gives_them_the_package(
    reviewer: Client, publisher: Client, submitted: str
) -> None:
    queue = (await reviewer.get("/marketplace/submissions", limit=200)).json()["items"]
    (waiting,) = [each for each in queue if each["pluginId"] == submitted]
    assert (waiting["status"], waiting["publisherOrganization"]) == ("pending", publisher.organization)
    assert {finding["code"] for finding in waiting["findings"]} == {"permission_unused"}
    data = await reviewer.get(f"{place(submitted)}/package")
    assert data.content == package(submitted)


async def test_the_queue_has_pages_in_which_everything_comes_once(reviewer: Client, publisher: Client) -> None:
    own = {f"paged-{number}-{uuid4().hex[:6]}" for number in range(3)}
    for plugin_id in own:
        await publisher.publish(package(plugin_id))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await publisher.get("/marketplace/submissions", limit=2, **cursor)).json()
        seen += [item["pluginId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert sorted(seen) == sorted(own)


async def test_publishers_see_their_own_submissions_and_decide_none(
    registry: Registry, publisher: Client, submitted: str
) -> None:
    stranger = registry.caller("publisher")
    assert (await stranger.get(place(submitted))).json()["code"] == "submission_not_found"
    assert (await stranger.get(f"{place(submitted)}/package")).status_code == 404
    assert (await stranger.get("/marketplace/submissions")).json()["items"] == []
    assert [item["pluginId"] for item in (await publisher.get("/marketplace/submissions")).json()["items"]] == [
        submitted
    ]
    for role in ("publisher", "owner", "admin", "manager", "cashier"):
        assert (await publisher.also(role).put(f"{place(submitted)}/decision", APPROVED)).status_code == 403


async def test_what_the_checks_refuse_is_not_kept_unless_it_stays_private(publisher: Client) -> None:
    plugin_id = f"plugin-{uuid4().hex[:8]}"
    data = package(plugin_id, code="import ctypes\nplugin = None\n")
    refused = await publisher.publish(data)
    assert (refused.status_code, refused.json()["code"]) == (422, "checks_failed")
    assert refused.json()["errors"][0]["path"] == "told/__init__.py:1"
    assert await listed(publisher, plugin_id) == []
    signature = await publisher._signature(data)
    assert (await publisher.publish_as(data, signature, level="private")).status_code == 201


async def test_a_private_version_can_be_submitted_later(publisher: Client, reviewer: Client) -> None:
    plugin_id = f"plugin-{uuid4().hex[:8]}"
    data = package(plugin_id)
    signature = await publisher._signature(data)
    assert (await publisher.publish_as(data, signature, level="private")).status_code == 201
    assert (await reviewer.get(place(plugin_id))).json()["code"] == "submission_not_found"
    assert (await publisher.publish_as(data, signature)).status_code == 200
    assert (await reviewer.get(place(plugin_id))).json()["status"] == "pending"


async def test_nobody_declares_a_version_verified_by_publishing_it(publisher: Client) -> None:
    data = package(f"plugin-{uuid4().hex[:8]}")
    refused = await publisher.publish_as(data, await publisher._signature(data), level="verified")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("likeness", ["{0}s1", "{0}-", "rn", "digits"])
async def test_an_id_like_that_of_a_verified_plugin_is_refused_to_others(
    registry: Registry, publisher: Client, reviewer: Client, likeness: str
) -> None:
    letters = "".join(chr(ord("a") + int(digit, 16) % 16) for digit in uuid4().hex[:8])
    plugin_id = f"modern-{letters}"
    await publisher.publish(package(plugin_id))
    await reviewer.put(f"{place(plugin_id)}/decision", {**APPROVED, "level": "verified"})
    squatters = {
        "{0}s1": f"{plugin_id}1",
        "{0}-": plugin_id.replace("-", ""),
        "rn": plugin_id.replace("m", "rn", 1),
        "digits": plugin_id.replace("o", "0", 1),
    }
    squatter = package(squatters[likeness])
    refused = await registry.caller("publisher").publish(squatter)
    assert (refused.status_code, refused.json()["code"]) == (409, "plugin_id_confusing")
    assert (await publisher.publish(squatter)).status_code == 201
