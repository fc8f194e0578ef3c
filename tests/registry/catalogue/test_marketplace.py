import asyncio
import hashlib
from uuid import uuid4

import pytest

from tests.registry.packages import package
from tests.registry.platform import PUBLISHER, Client, Registry


@pytest.fixture
def publisher(registry: Registry) -> Client:
    return registry.caller("publisher", PUBLISHER)


def new_id() -> str:
    return f"plugin-{uuid4().hex[:8]}"


async def test_a_published_version_is_listed_with_what_it_declares(publisher: Client, owner: Client) -> None:
    plugin_id = new_id()
    published = await publisher.publish(package(plugin_id))
    assert published.status_code == 201
    assert published.json()["publishedBy"] == f"publisher@{PUBLISHER}"
    (entry,) = (await owner.get("/marketplace", search=plugin_id)).json()["items"]
    assert entry["pluginId"] == plugin_id
    assert entry["versions"] == ["1.0.0"]
    assert entry["category"] == "loyalty"
    assert entry["capabilities"] == {
        "routes": [{"method": "GET", "path": "/points/{customer_id}"}],
        "hooks": ["sale.created"],
        "uiComponents": [
            {
                "injectionPoint": "POS.AfterCheckout",
                "name": "earned",
                "title": "Points earned",
                "priority": 0,
                "route": None,
            }
        ],
        "permissions": [
            {"name": "sale:read", "purpose": "to count them"},
            {"name": "customer:read", "purpose": "to know them"},
        ],
        "hosts": [],
        "calls": [],
    }
    assert entry["settingsSchema"]["properties"]["rate"]["default"] == 1


async def test_the_latest_release_is_offered_whatever_the_order_of_publishing(publisher: Client, owner: Client) -> None:
    plugin_id = new_id()
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.2.0"):
        assert (await publisher.publish(package(plugin_id, version))).status_code == 201
    (entry,) = (await owner.get("/marketplace", search=plugin_id)).json()["items"]
    assert entry["version"] == "1.10.0"
    assert entry["versions"] == ["2.0.0-rc.1", "1.10.0", "1.9.0", "1.2.0"]


async def test_the_same_package_again_is_harmless_and_other_content_is_refused(publisher: Client) -> None:
    plugin_id = new_id()
    first = await publisher.publish(package(plugin_id))
    again = await publisher.publish(package(plugin_id))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = await publisher.publish(package(plugin_id, code="plugin = 1\n"))
    assert (other.status_code, other.json()["code"]) == (409, "version_exists")


async def test_the_same_version_published_twice_at_once_is_kept_once(publisher: Client) -> None:
    plugin_id = new_id()
    contents = [package(plugin_id, code=f"plugin = {number}\n") for number in range(4)]
    statuses = [each.status_code for each in await asyncio.gather(*map(publisher.publish, contents))]
    assert sorted(statuses) == [201, 409, 409, 409]


async def test_a_plugin_belongs_to_the_publisher_who_came_first(registry: Registry, publisher: Client) -> None:
    plugin_id = new_id()
    await publisher.publish(package(plugin_id))
    taken = await registry.caller("publisher", "somebody-else").publish(package(plugin_id, "1.0.1"))
    assert (taken.status_code, taken.json()["code"]) == (403, "plugin_of_another_publisher")


@pytest.mark.parametrize("role", ["owner", "admin", "manager", "cashier"])
async def test_only_publishers_publish(registry: Registry, role: str) -> None:
    assert (await registry.caller(role).publish(package(new_id()))).status_code == 403


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        package("bad", settingsSchema={"type": "number"}),
        package("bad", settingsSchema={"properties": {"a": {"pattern": "(a+)+$"}}}),
        package("bad", dependencies=[{"pluginId": "other", "version": "latest"}]),
        package("bad", description="nul \0"),
        package("bad", description="x" * 300_000),
        package("bad", version=f"1.0.0-{'9' * 100}"),
    ],
)
async def test_what_could_not_be_installed_is_refused(publisher: Client, data: bytes) -> None:
    refused = await publisher.publish(data)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_package")


async def test_a_deeply_nested_manifest_is_refused(publisher: Client) -> None:
    schema: dict[str, object] = {}
    for _ in range(100):
        schema = {"properties": {"a": schema}}
    refused = await publisher.publish(package("bad", settingsSchema=schema))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_package")


async def test_bodies_that_are_no_package_or_too_large_are_refused(publisher: Client) -> None:
    assert (await publisher.publish(package("bad"), "application/zip")).status_code == 415
    large = await publisher.publish(b"x" * (4 * 1024 * 1024 + 1))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


async def test_the_catalogue_is_filtered_and_paged(registry: Registry, owner: Client) -> None:
    mark = uuid4().hex[:8]
    for number in range(5):
        category = "payment" if number % 2 else "shipping"
        await registry.publish(f"p{number}-{mark}", category=category, tags=[f"tag-{mark}"])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await owner.get("/marketplace", search=f"tag-{mark}", limit=2, **cursor)).json()
        seen += [entry["pluginId"] for entry in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == [f"p{number}-{mark}" for number in range(5)]
    payments = (await owner.get("/marketplace", search=mark, category="payment")).json()["items"]
    assert [entry["pluginId"] for entry in payments] == [f"p1-{mark}", f"p3-{mark}"]
    assert (await owner.get("/marketplace", search="100%_")).json()["items"] == []


async def test_bad_queries_are_refused(owner: Client) -> None:
    for query in ({"cursor": "rubbish"}, {"cursor": "WyJhIiwiYiJd"}):
        refused = await owner.get("/marketplace", **query)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
    for query in ({"limit": "0"}, {"category": "none"}, {"search": "\0"}):
        assert (await owner.get("/marketplace", **query)).status_code == 422


async def test_workers_fetch_a_package_by_its_digest(registry: Registry, publisher: Client) -> None:
    data = package(new_id())
    digest = (await publisher.publish(data)).json()["digest"]
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    fetched = await registry.http.get(f"/internal/packages/{digest}")
    assert fetched.content == data
    assert "immutable" in fetched.headers["Cache-Control"]
    missing = await registry.http.get(f"/internal/packages/sha256:{'0' * 64}")
    assert (missing.status_code, missing.json()["code"]) == (404, "package_not_found")
