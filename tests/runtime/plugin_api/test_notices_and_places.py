"""Notifications, and what a plugin may know of where it is at work."""

import json
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from services.common.directory import Installation
from services.runtime.plugin_api.errors import ApiRefusal
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Call, Calls

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
NOTE = {"user": "u-1", "title": "Points", "message": "You earned 100 points!", "type": "success"}


@pytest.fixture
def calls(runtime_pool: Pool) -> Calls:
    return Calls(runtime_pool)


def allowed(**facts: Any) -> Installation:
    return msgspec.structs.replace(installation(**facts), grants=("notify:send",))


async def refusal(calls: Calls, found: Installation, call: Call, **options: Any) -> str:
    with pytest.raises(ApiRefusal) as refused:
        await calls(found, call, **options)
    return refused.value.code


async def test_a_notification_leaves_with_the_transaction_under_an_id_that_repeats(
    calls: Calls, runtime_pool: Pool
) -> None:
    found = allowed()
    for keep in (False, True):
        await calls(found, ("notices.send", NOTE), ("notices.send", NOTE), cause="e1", keep=keep)
    rows = await runtime_pool.fetch("SELECT topic, key, value, headers FROM outbox ORDER BY id")
    assert {(row["topic"], row["key"]) for row in rows} == {("outlet.notifications", "acme/s1/u-1")}
    assert len({json.loads(row["headers"])["ce_id"] for row in rows}) == len(rows) == 2
    assert json.loads(rows[0]["value"]) == {
        "pluginId": "loyalty-points",
        "userId": "u-1",
        "title": "Points",
        "message": "You earned 100 points!",
        "type": "success",
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "shout"}, "invalid_arguments"),
        ({"title": " "}, "invalid_value"),
        ({"user": "u" * 300}, "invalid_value"),
        ({"message": "m" * 3_000}, "invalid_value"),
        ({"message": "\ud800"}, "invalid_value"),
    ],
)
async def test_a_notification_is_short_text(calls: Calls, changes: dict[str, Any], code: str) -> None:
    assert await refusal(calls, allowed(), ("notices.send", NOTE | changes)) == code


async def test_nobody_is_notified_without_the_permission(calls: Calls) -> None:
    assert await refusal(calls, installation(), ("notices.send", NOTE)) == "permission_denied"


async def fill(pool: Pool) -> None:
    for organization, store in (("acme", "s1"), ("acme", "s2"), ("globex", "s1")):
        await pool.execute(
            "INSERT INTO store (organization_id, store_id, id, data, occurred_at) VALUES ($1, $2, $2, $3, now())",
            organization,
            store,
            json.dumps({"id": store, "name": f"{organization} {store}"}),
        )


async def test_a_store_is_described_as_it_was_last_published(calls: Calls, platform_pool: Pool) -> None:
    await fill(platform_pool)
    assert await calls(installation(), ("places.store", {})) == {"id": "s1", "name": "acme s1"}
    assert await calls(installation(), ("places.store", {"store": "s2"})) == {"id": "s2", "name": "acme s2"}
    assert await calls(installation(), ("places.store", {"store": "s9"})) == {"id": "s9"}
    assert await calls(installation(), ("places.store", {}), store=None) is None
    assert await refusal(calls, installation(store="s1"), ("places.store", {"store": "s2"})) == "wrong_store"


async def test_what_a_store_says_of_people_needs_its_grant(calls: Calls, platform_pool: Pool) -> None:
    data = json.dumps({"id": "s1", "manager": {"id": "e1", "name": "Ada"}})
    await platform_pool.execute("INSERT INTO store VALUES ('acme', 's1', 's1', $1, now())", data)
    assert await calls(installation(), ("places.store", {})) == {"id": "s1", "manager": {"id": "e1"}}
    trusted = installation(grants=("employee:personal-data",))
    assert (await calls(trusted, ("places.store", {})))["manager"]["name"] == "Ada"


async def test_the_organization_is_its_own_with_the_stores_that_are_covered(calls: Calls, platform_pool: Pool) -> None:
    await fill(platform_pool)
    assert await calls(installation(), ("places.organization", {})) == {"id": "acme", "stores": ["s1", "s2"]}
    assert await calls(installation(store="s2"), ("places.organization", {}), store="s2") == {
        "id": "acme",
        "stores": ["s2"],
    }
