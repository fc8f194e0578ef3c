"""Reviews and ratings."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.registry.platform import PUBLISHER, Client, LocalRegistry
from tests.registry.worker import FakeWorker


def review(rating: int = 4, **changes: Any) -> dict[str, Any]:
    return {"rating": rating, "title": "Works", "text": "As it says.\nMostly."} | changes


async def customer(registry: LocalRegistry, plugin_id: str) -> Client:
    """The owner of an organization that has the plugin installed."""
    client = registry.caller()
    await client.install(plugin_id)
    return client


async def write(client: Client, plugin_id: str, rating: int = 4, **changes: Any) -> httpx.Response:
    return await client.put(f"/marketplace/{plugin_id}/review", review(rating, **changes))


async def listed(client: Client, plugin_id: str, **query: Any) -> list[dict[str, Any]]:
    response = await client.get(f"/marketplace/{plugin_id}/reviews", **query)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def rating(client: Client, plugin_id: str) -> dict[str, Any]:
    (entry,) = (await client.get("/marketplace", search=plugin_id)).json()["items"]
    found: dict[str, Any] = entry["rating"]
    return found


async def test_an_organization_has_one_review_and_may_change_it(
    worker: FakeWorker, registry: LocalRegistry, plugin_id: str
) -> None:
    client = await customer(registry, plugin_id)
    first = (await write(client, plugin_id, 2)).json()
    again = (await write(client.also("admin"), plugin_id, 5, title="Better")).json()
    assert (again["id"], again["rating"], again["createdAt"]) == (first["id"], 5, first["createdAt"])
    assert (again["version"], again["own"]) == ("1.0.0", True)
    (seen,) = await listed(registry.caller("manager"), plugin_id)
    assert (seen["title"], seen["own"], seen["organizationId"]) == ("Better", False, None)
    assert await rating(client, plugin_id) == {"average": 5.0, "count": 1, "histogram": [0, 0, 0, 0, 1]}
    told = [e for e in (await client.get("/audit")).json()["items"] if e["action"] == "review.write"]
    assert told[0]["before"]["rating"] == 2
    assert told[0]["after"]["rating"] == 5


async def test_only_who_has_it_installed_reviews_it(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, plugin_id: str
) -> None:
    refused = await write(owner, plugin_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_installed_here")
    installed = await owner.install(plugin_id)
    assert (await write(owner, plugin_id)).status_code == 200
    assert (await owner.delete(f"/{installed['id']}")).status_code == 204
    assert (await write(owner, plugin_id)).status_code == 409
    assert (await owner.delete(f"/marketplace/{plugin_id}/review")).status_code == 204
    assert (await owner.delete(f"/marketplace/{plugin_id}/review")).status_code == 404
    assert await rating(owner, plugin_id) == {"average": None, "count": 0, "histogram": [0] * 5}


async def test_a_publisher_does_not_review_its_own(worker: FakeWorker, registry: LocalRegistry, plugin_id: str) -> None:
    own = registry.caller("owner", PUBLISHER)
    await own.install(plugin_id)
    refused = await write(own, plugin_id)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_plugin")


async def test_ratings_of_many_at_once_are_all_counted(
    worker: FakeWorker, registry: LocalRegistry, plugin_id: str
) -> None:
    customers = [await customer(registry, plugin_id) for _ in range(6)]
    given = [1, 3, 4, 5, 5, 5]
    await asyncio.gather(*(write(client, plugin_id, stars) for client, stars in zip(customers, given, strict=True)))
    found = await rating(customers[0], plugin_id)
    assert found == {"average": 3.83, "count": 6, "histogram": [1, 0, 1, 1, 3]}


async def test_the_best_rated_come_first_and_one_review_does_not_decide(
    worker: FakeWorker, registry: LocalRegistry, owner: Client
) -> None:
    many, one, none, bad = [await registry.publish(author="Ratings-of-this-test") for _ in range(4)]
    for plugin_id, stars in ((many, [5, 5, 5, 4]), (one, [5]), (bad, [1])):
        for each in stars:
            await write(await customer(registry, plugin_id), plugin_id, each)
    page = (await owner.get("/marketplace", search="ratings of this test", sort="rating")).json()
    assert [entry["pluginId"] for entry in page["items"]] == [many, one, none, bad]


async def test_the_publisher_answers_and_nobody_else(
    worker: FakeWorker, registry: LocalRegistry, plugin_id: str
) -> None:
    client = await customer(registry, plugin_id)
    path = f"/marketplace/{plugin_id}/reviews/{(await write(client, plugin_id)).json()['id']}/reply"
    stranger = await registry.caller("publisher").put(path, {"reply": "Thanks"})
    assert (stranger.status_code, stranger.json()["code"]) == (403, "plugin_of_another_publisher")
    publisher = registry.caller("publisher", PUBLISHER)
    assert (await publisher.put(path, {"reply": "Thanks"})).json()["reply"] == "Thanks"
    (seen,) = await listed(client, plugin_id)
    assert seen["reply"] == "Thanks"
    assert seen["repliedAt"] is not None
    assert (await publisher.put(path, {"reply": None})).json()["repliedAt"] is None


async def test_a_reported_review_is_hidden_by_a_reviewer_and_counts_no_more(
    worker: FakeWorker, registry: LocalRegistry, plugin_id: str
) -> None:
    author, other = await customer(registry, plugin_id), registry.caller()
    written = (await write(author, plugin_id, 1)).json()
    path = f"/marketplace/{plugin_id}/reviews/{written['id']}"
    for _ in range(2):  # again is harmless
        assert (await other.post(f"{path}/report", {"reason": "rude"})).status_code == 204
    reviewer = registry.caller("reviewer")
    (reported,) = [r for r in (await reviewer.get("/reviews", limit=200)).json()["items"] if r["id"] == written["id"]]
    assert (reported["reports"], reported["organizationId"]) == (1, author.organization)
    hidden = await reviewer.put(f"{path}/visibility", {"hidden": True, "reason": "insults"})
    assert (hidden.json()["hidden"], hidden.json()["hiddenReason"]) == (True, "insults")
    assert await listed(other, plugin_id) == []
    assert [each["hidden"] for each in await listed(author, plugin_id)] == [True]
    assert len(await listed(reviewer, plugin_id)) == 1
    assert (await rating(other, plugin_id))["count"] == 0
    assert written["id"] not in [r["id"] for r in (await reviewer.get("/reviews", limit=200)).json()["items"]]
    # Written anew it stays hidden; nobody else can tell that it is there.
    assert (await write(author, plugin_id, 2)).json()["hidden"] is True
    assert (await other.post(f"{path}/report", {"reason": "rude"})).status_code == 404
    assert (await registry.caller("publisher", PUBLISHER).put(f"{path}/reply", {"reply": "x"})).status_code == 404
    await reviewer.put(f"{path}/visibility", {"hidden": False})
    assert await rating(other, plugin_id) == {"average": 2.0, "count": 1, "histogram": [0, 1, 0, 0, 0]}


async def test_reviews_are_filtered_and_paged(worker: FakeWorker, registry: LocalRegistry, plugin_id: str) -> None:
    answers = [await write(await customer(registry, plugin_id), plugin_id, stars) for stars in (3, 4, 3)]
    written = [answer.json()["id"] for answer in answers]
    reader = registry.caller("manager")
    page = (await reader.get(f"/marketplace/{plugin_id}/reviews", limit=2)).json()
    rest = await listed(reader, plugin_id, limit=2, cursor=page["nextCursor"])
    assert [each["id"] for each in page["items"] + rest] == written[::-1]
    assert [each["id"] for each in await listed(reader, plugin_id, rating=3)] == [written[2], written[0]]
    refused = await reader.get(f"/marketplace/{plugin_id}/reviews", cursor="WyJhIiwiYiJd")
    assert refused.json()["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    "changes",
    [{"rating": 0}, {"rating": 6}, {"rating": "5"}, {"title": ""}, {"text": "\0"}, {"text": "x" * 4001}, {"x": 1}],
)
async def test_a_review_that_makes_no_sense_is_refused(owner: Client, plugin_id: str, changes: dict[str, Any]) -> None:
    assert (await owner.put(f"/marketplace/{plugin_id}/review", review() | changes)).status_code == 422


async def test_what_is_not_there_is_not_found(worker: FakeWorker, registry: LocalRegistry, owner: Client) -> None:
    missing = await write(owner, "no-such-plugin")
    assert (missing.status_code, missing.json()["code"]) == (404, "plugin_not_found")
    bound = await write(owner.also(store="s1"), "no-such-plugin")
    assert bound.json()["code"] == "wrong_store"
    path = "/marketplace/no-such-plugin/reviews/no-id/visibility"
    assert (await registry.caller("reviewer").put(path, {"hidden": True})).json()["code"] == "review_not_found"
