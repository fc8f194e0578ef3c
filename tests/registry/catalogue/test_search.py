"""Searching the marketplace."""

from typing import Any
from uuid import uuid4

import pytest

from tests.registry.packages import package
from tests.registry.platform import Client, LocalRegistry
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker


@pytest.fixture
def mark() -> str:
    """A word that only the plugins of one test have."""
    return "".join(chr(ord("a") + int(digit, 16)) for digit in uuid4().hex[:12])


async def found(client: Client, **query: Any) -> list[str]:
    response = await client.get("/marketplace", **query)
    assert response.status_code == 200, response.text
    return [entry["pluginId"] for entry in response.json()["items"]]


async def all_pages(client: Client, **query: Any) -> list[str]:
    """Page by page, one plugin each."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/marketplace", limit=1, **query, **cursor)).json()
        seen += [entry["pluginId"] for entry in page["items"]]
        if page["nextCursor"] is None:
            return seen
        cursor = {"cursor": page["nextCursor"]}


async def test_a_name_weighs_more_than_tags_and_these_more_than_words_of_description_and_author(
    registry: LocalRegistry, owner: Client, mark: str
) -> None:
    places: dict[str, dict[str, Any]] = {
        "d": {"author": mark}, "c": {"description": f"about {mark}"}, "b": {"tags": [mark]}, "a": {"name": mark}
    }  # fmt: skip
    for place, members in places.items():
        await registry.publish(f"{place}-{uuid4().hex[:8]}", **members)
    assert [plugin_id[0] for plugin_id in await found(owner, search=mark)] == ["a", "b", "c", "d"]
    assert [plugin_id[0] for plugin_id in await all_pages(owner, search=mark)] == ["a", "b", "c", "d"]


async def test_beginnings_of_words_are_enough_and_all_of_them_must_be_there(
    registry: LocalRegistry, owner: Client, mark: str
) -> None:
    plugin_id = await registry.publish(name=f"Loyalty {mark}")
    assert await found(owner, search=f"loyal {mark[:6]}") == [plugin_id]
    assert await found(owner, search=f"{mark.upper()}!") == [plugin_id]
    other = await registry.publish(name=f"Payment {mark}")
    assert await found(owner, search=f"payment {mark}") == [other]


async def test_a_typing_error_finds_what_looks_like_it_page_by_page(
    registry: LocalRegistry, owner: Client, mark: str
) -> None:
    plugins = sorted([await registry.publish(name=f"{mark} one"), await registry.publish(name=f"{mark} two")])
    mistyped = mark[:5] + "zz" + mark[6:]
    assert sorted(await found(owner, search=mistyped)) == plugins
    assert sorted(await all_pages(owner, search=mistyped)) == plugins


@pytest.mark.parametrize("search", ["'", "\\", "a' | 'b", ":*", "!!", "<->", "(", "'):*", "%", "_", "🙂", "a" * 200])
async def test_marks_are_no_commands_of_the_search(owner: Client, search: str) -> None:
    assert (await owner.get("/marketplace", search=search)).status_code == 200


async def test_a_listing_follows_the_latest_version(registry: LocalRegistry, owner: Client, mark: str) -> None:
    plugin_id = await registry.publish(name=f"Old{mark}")
    await registry.publish(plugin_id, "0.9.0", name=f"Older{mark}")
    assert await found(owner, search=f"Old{mark}") == [plugin_id]
    await registry.publish(plugin_id, "2.0.0", name=f"New{mark}", category="payment")
    assert await found(owner, search=f"New{mark}", category="payment") == [plugin_id]
    assert await found(owner, search=f"Old{mark}") in ([], [plugin_id])  # at most as what looks like it


async def test_installations_are_counted_once_each_and_sort(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, mark: str
) -> None:
    one, other = await registry.publish(tags=[mark]), await registry.publish(tags=[mark])
    worker.behaviour = FAILS
    assert (await owner.try_install(other)).status_code == 502
    worker.behaviour = SUCCEEDS
    installed = await owner.install(other)  # the same one, tried again
    for action in ("activate", "deactivate", "activate"):
        assert (await owner.post(f"/{installed['id']}/{action}")).status_code == 200
    await registry.caller().install(other)
    await registry.caller().install(one)
    entries = (await owner.get("/marketplace", search=mark, sort="downloads")).json()["items"]
    assert [(entry["pluginId"], entry["downloads"]) for entry in entries] == [(other, 2), (one, 1)]
    assert await all_pages(owner, search=mark, sort="downloads") == [other, one]


@pytest.mark.parametrize(("sort", "expected"), [("name", "acb"), ("newest", "abc"), ("relevance", "abc")])
async def test_other_sorts(registry: LocalRegistry, owner: Client, mark: str, sort: str, expected: str) -> None:
    names = {"c": "Middle", "b": "zoo", "a": "apples"}
    for place, name in names.items():
        await registry.publish(f"{place}-{mark}", name=name, tags=[mark])
    assert "".join(each[0] for each in await all_pages(owner, search=mark, sort=sort)) == expected


async def test_reviewers_feature_plugins(registry: LocalRegistry, owner: Client, mark: str) -> None:
    plain, chosen = await registry.publish(tags=[mark]), await registry.publish(tags=[mark])
    reviewer = registry.caller("reviewer")
    assert (await reviewer.put(f"/marketplace/{chosen}/featured", {"featured": True})).status_code == 204
    assert await found(owner, search=mark, featured="true") == [chosen]
    assert await found(owner, search=mark, featured="false") == [plain]
    assert (await reviewer.put("/marketplace/none/featured", {"featured": True})).status_code == 404


async def test_facets_count_what_matches(registry: LocalRegistry, owner: Client, mark: str) -> None:
    price = {"model": "subscription", "amount": 990, "currency": "EUR", "period": "month", "trialDays": 14}
    await registry.publish(tags=[mark], category="payment", price=price)
    for _ in range(2):
        await registry.publish(tags=[mark], category="shipping")
    page = (await owner.get("/marketplace", search=mark, category="payment", limit=1)).json()
    assert page["facets"] == {
        "categories": {"payment": 1, "shipping": 2},
        "prices": {"subscription": 1},
        "featured": 0,
    }
    assert page["items"][0]["price"] == price
    whole = (await owner.get("/marketplace", search=mark, limit=1)).json()
    assert whole["facets"]["prices"] == {"free": 2, "subscription": 1}
    further = (await owner.get("/marketplace", search=mark, limit=1, cursor=whole["nextCursor"])).json()
    assert further["facets"] is None
    assert len(await found(owner, search=mark, price="free")) == 2


async def test_a_cursor_of_another_sort_is_refused(registry: LocalRegistry, owner: Client, mark: str) -> None:
    for _ in range(2):
        await registry.publish(tags=[mark])
    page = (await owner.get("/marketplace", search=mark, limit=1, sort="name")).json()
    refused = await owner.get("/marketplace", search=mark, sort="newest", cursor=page["nextCursor"])
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "price",
    [
        {"model": "free", "amount": 1},
        {"model": "one-time", "amount": 0, "currency": "EUR"},
        {"model": "one-time", "amount": 100, "currency": "euro"},
        {"model": "one-time", "amount": 100},
        {"model": "one-time", "amount": 100, "currency": "EUR", "period": "month"},
        {"model": "subscription", "amount": 100, "currency": "EUR"},
        {"model": "subscription", "amount": 100, "currency": "EUR", "period": "month", "trialDays": 366},
        {"model": "subscription", "amount": 10**9, "currency": "EUR", "period": "month"},
    ],
)
async def test_a_price_that_makes_no_sense_is_not_published(registry: LocalRegistry, price: dict[str, Any]) -> None:
    refused = await registry.caller("publisher").publish(package(f"p-{uuid4().hex[:8]}", price=price))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_package")


async def test_what_is_private_is_found_by_its_publisher_alone(registry: LocalRegistry, mark: str) -> None:
    publisher = registry.caller("publisher")
    data = package(f"p-{mark}", name=mark)
    signature = await publisher._signature(data)
    assert (await publisher.publish_as(data, signature, level="private")).status_code == 201
    for search in (mark, mark[:5] + "zz" + mark[6:]):
        own = (await publisher.get("/marketplace", search=search)).json()
        assert [entry["pluginId"] for entry in own["items"]] == [f"p-{mark}"]
        assert own["facets"]["categories"] == {"loyalty": 1}
        others = (await registry.caller().get("/marketplace", search=search)).json()
        assert (others["items"], others["facets"]["categories"]) == ([], {})


async def test_others_find_the_public_version_and_the_publisher_the_latest(registry: LocalRegistry, mark: str) -> None:
    publisher, plugin_id = registry.caller("publisher"), f"p-{mark}"
    assert (await publisher.publish(package(plugin_id, name=mark))).status_code == 201
    newer = package(plugin_id, "2.0.0", name=mark)
    assert (await publisher.publish_as(newer, await publisher._signature(newer), level="private")).status_code == 201
    for client, version in ((publisher, "2.0.0"), (registry.caller(), "1.0.0")):
        (entry,) = (await client.get("/marketplace", search=mark)).json()["items"]
        assert entry["version"] == version
