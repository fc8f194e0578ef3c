"""Models on a real PostgreSQL, as a plugin reaches them: through the session of one invocation."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from outlet.manifest import PERMISSIONS, Permission
from services.common.directory import Installation
from services.common.events import DomainEvent, read_event
from services.runtime.commerce import projector
from services.runtime.invocation import source_of
from services.runtime.plugin_api.errors import ApiRefusal
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLAIN = tuple(sorted(name for name in PERMISSIONS if not name.endswith("personal-data")))
EVERYTHING = tuple(sorted(PERMISSIONS))


def shop(*grants: str, store: str | None = None, organization: str = "acme") -> Installation:
    """An installation that was granted this; without a word, everything but personal data."""
    return installation(organization=organization, store=store, grants=grants or PLAIN)


async def project(pool: Pool, *events: DomainEvent) -> None:
    async with pool.acquire() as connection:
        await projector.apply(connection, [change for one in events if (change := projector.read_change(one))])


async def publish(
    pool: Pool, kind: str, *documents: dict[str, Any], store: str = "s1", organization: str = "acme", minutes: int = 0
) -> None:
    """Let a till say something."""
    time = (NOON + timedelta(minutes=minutes)).isoformat()
    events = [
        DomainEvent("e", kind, "urn:pos", time, organization, store, json.dumps(document).encode())
        for document in documents
    ]
    await project(pool, *events)


async def outbox(pool: Pool) -> list[DomainEvent]:
    rows = await pool.fetch("SELECT value, headers FROM outbox ORDER BY id")
    return [
        read_event([(name, text.encode()) for name, text in json.loads(row["headers"]).items()], row["value"])
        for row in rows
    ]


@pytest.fixture
def calls(runtime_pool: Pool) -> Calls:
    return Calls(runtime_pool)


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


PRODUCTS: list[dict[str, Any]] = [
    {"id": "a", "name": "Green tea", "price": "9.90", "stock": 4, "tags": ["tea", 7], "organic": True, "parent": None},
    {"id": "b", "name": "Black TEA", "price": "10.10", "stock": 20, "added": "2026-10-01T10:00:00Z"},
    {"id": "c", "name": "Coffee", "price": 10.1, "stock": "n/a", "added": "2026-10-01T11:00:00+02:00"},
    {"id": "d", "size": {"unit": "g", "amount": "250.0"}, "added": "2026-06-31T00:00:00Z", "organic": False},
]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "abcd"),
        ({"id": "b"}, "b"),
        ({"id": {"in": ["a", "d", "x"]}}, "ad"),
        ({"storeId": "s1"}, "abcd"),
        ({"storeId": "s2"}, ""),
        ({"name": "Coffee"}, "c"),
        ({"name": {"ne": "Coffee"}}, "abd"),
        ({"name": {"contains": "tea"}}, "ab"),
        ({"tags": {"contains": "tea"}}, "a"),
        ({"tags": {"contains": 7}}, "a"),
        ({"tags": {"contains": "te"}}, ""),
        ({"name": {"contains": "%"}}, ""),
        ({"price": {"gt": Decimal("9.95")}}, "bc"),
        ({"price": {"gte": Decimal("10.1"), "lt": 11}}, "bc"),
        ({"price": Decimal("10.10")}, "bc"),
        ({"price": "10.10"}, "b"),
        ({"price": {"lt": "9.90"}}, "bc"),  # text compares as text
        ({"stock": {"gte": 4}}, "ab"),
        ({"stock": {"in": [4, "n/a"]}}, "ac"),
        ({"added": {"lt": datetime(2026, 10, 1, 9, 30, tzinfo=UTC)}}, "c"),
        ({"added": datetime(2026, 10, 1, 10, tzinfo=UTC)}, "b"),
        ({"size.amount": {"gte": 250}}, "d"),
        ({"size": {"eq": None}}, "abc"),
        ({"parent": None}, "abcd"),
        ({"parent": {"ne": None}}, ""),
        ({"organic": True}, "a"),
        ({"organic": {"ne": True}}, "bcd"),
        ({"organic": {"in": [True, None]}}, "a"),
        ({"tags.0": "tea"}, "a"),
        ({"tags.-1": 7}, "a"),
        ({"or": [{"id": "a"}, {"and": [{"price": {"gt": 10}}, {"stock": 20}]}]}, "ab"),
        ({"stock": {"in": []}}, ""),
        ({"size": "250.0"}, ""),
    ],
)
async def test_filters(runtime_pool: Pool, calls: Calls, where: dict[str, Any], found: str) -> None:
    await publish(runtime_pool, "product.created", *PRODUCTS)
    assert ids(await calls(shop(), ("models.find", {"model": "product", "where": where}))) == list(found)


async def test_an_entity_comes_back_as_its_till_published_it_with_its_store(runtime_pool: Pool, calls: Calls) -> None:
    sale = {"id": "1", "totals": {"total": "10.10", "weight": 1.25}, "lines": [{"sku": "a", "big": 2**70}], "n": None}
    await publish(runtime_pool, "sale.created", sale)
    found = await calls(shop(), ("models.get", {"model": "sale", "id": "1"}))
    assert found == {**sale, "totals": {"total": "10.10", "weight": Decimal("1.25")}, "storeId": "s1"}


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ([], "abcdef"),
        (["n"], "dbfcea"),
        (["-n"], "aecfbd"),
        (["-kind", "n"], "ceadbf"),
        (["kind", "-n"], "fbdaec"),
        (["-id"], "fedcba"),
    ],
)
async def test_sorting_puts_numbers_before_times_before_text_and_pages_lose_nothing(
    runtime_pool: Pool, calls: Calls, sort: list[str], order: str
) -> None:
    documents: list[dict[str, Any]] = [
        {"id": "a", "kind": "y"},
        {"id": "b", "n": "9.5", "kind": "x"},
        {"id": "c", "n": "2026-10-01T11:00:00+02:00", "kind": "y"},
        {"id": "d", "n": 2, "kind": "x"},
        {"id": "e", "n": "text", "kind": "y"},
        {"id": "f", "n": 10, "kind": "x"},
    ]
    await publish(runtime_pool, "product.created", *documents)
    expected = list(order)
    assert ids(await calls(shop(), ("models.find", {"model": "product", "sort": sort}))) == expected
    for limit in (1, 2, 5):
        seen: list[str] = []
        cursor = None
        while True:
            page = await calls(
                shop(), ("models.find", {"model": "product", "sort": sort, "limit": limit, "cursor": cursor})
            )
            seen += ids(page)
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == expected


async def test_a_page_ends_where_a_frame_would_and_says_how_to_go_on(runtime_pool: Pool, calls: Calls) -> None:
    await publish(runtime_pool, "product.created", *({"id": f"{n}", "text": "x" * 50_000} for n in range(5)))
    first = await calls(shop(), ("models.find", {"model": "product"}))
    assert ids(first) == ["0", "1", "2"]
    rest = await calls(shop(), ("models.find", {"model": "product", "cursor": first["cursor"]}))
    assert (ids(rest), rest["cursor"]) == (["3", "4"], None)


async def test_aggregates_by_group_are_exact(runtime_pool: Pool, calls: Calls) -> None:
    await publish(
        runtime_pool,
        "sale.created",
        {"id": "1", "till": 1, "totals": {"total": "0.10"}},
        {"id": "2", "till": 1, "totals": {"total": "0.20"}},
        {"id": "3", "till": 2, "totals": {"total": 7}},
        {"id": "4", "totals": {"total": "none"}},
    )
    asked = {
        "model": "sale",
        "group_by": ["till"],
        "functions": {
            "sum": ["totals.total"],
            "avg": ["totals.total"],
            "min": ["totals.total"],
            "max": ["totals.total"],
        },
    }
    rows = await calls(shop(), ("models.aggregate", asked))
    figures = [
        (row["till"], row["count"], *(row[f"{name}_totals.total"] for name in ("sum", "avg", "min", "max")))
        for row in rows
    ]
    assert figures == [
        (1, 2, Decimal("0.30"), Decimal("0.15"), Decimal("0.10"), Decimal("0.20")),
        (2, 1, 7, 7, 7, 7),
        (None, 1, None, None, None, None),
    ]
    assert await calls(shop(), ("models.aggregate", {"model": "sale", "where": {"till": 1}})) == [{"count": 2}]


async def test_an_installation_sees_its_store_or_all_stores_of_its_organization(
    runtime_pool: Pool, calls: Calls
) -> None:
    for organization in ("acme", "globex"):
        for store in ("s1", "s2", "*"):
            await publish(runtime_pool, "product.created", {"id": "p"}, store=store, organization=organization)
    found = await calls(shop(), ("models.find", {"model": "product"}))
    assert [item["storeId"] for item in found["items"]] == ["*", "s1", "s2"]
    found = await calls(shop(store="s2"), ("models.find", {"model": "product"}))
    assert [item["storeId"] for item in found["items"]] == ["s2"]


async def test_an_id_is_looked_for_where_the_call_is_from_then_in_the_only_store_that_has_it(
    runtime_pool: Pool, calls: Calls
) -> None:
    await publish(runtime_pool, "product.created", {"id": "p"}, store="s1")
    get = ("models.get", {"model": "product", "id": "p"})
    assert (await calls(shop(), get, store="s2"))["storeId"] == "s1"
    await publish(runtime_pool, "product.created", {"id": "p"}, store="s2")
    assert (await calls(shop(), get, store="s2"))["storeId"] == "s2"
    assert (await calls(shop(), ("models.get", {**get[1], "store": "s1"}), store="s2"))["storeId"] == "s1"
    assert await calls(shop(), ("models.get", {**get[1], "store": "s3"})) is None
    with pytest.raises(ApiRefusal) as refusal:
        await calls(shop(), get, store=None)
    assert refusal.value.code == "ambiguous_id"


async def test_a_change_is_stored_and_published_together(runtime_pool: Pool, calls: Calls) -> None:
    await publish(
        runtime_pool, "sale.created", {"id": "1", "status": "parked", "totals": {"total": "1.00", "tax": "0"}}
    )
    found = shop()
    values = {"status": "completed", "totals": {"tax": Decimal("0.10")}, "at": NOON}
    changed = await calls(found, ("models.update", {"model": "sale", "id": "1", "values": values}))
    assert changed == {
        "id": "1",
        "storeId": "s1",
        "status": "completed",
        "totals": {"total": "1.00", "tax": "0.10"},
        "at": "2026-11-01T12:00:00Z",
    }
    assert await calls(found, ("models.get", {"model": "sale", "id": "1"})) == changed
    (event,) = await outbox(runtime_pool)
    assert (event.type, event.source, event.organization, event.store) == (
        "sale.updated",
        source_of(found),
        "acme",
        "s1",
    )
    assert json.loads(event.data) == {key: value for key, value in changed.items() if key != "storeId"}
    assert await runtime_pool.fetchval("SELECT key FROM outbox") == "acme/s1/1"


async def test_an_entity_is_created_in_the_store_of_the_call_and_deleted_again(
    runtime_pool: Pool, calls: Calls
) -> None:
    create: tuple[str, dict[str, Any]] = ("models.create", {"model": "product", "values": {"price": Decimal("1.50")}})
    created = await calls(shop(), create, store="s2")
    assert (created["price"], created["storeId"]) == ("1.50", "s2")
    again = ("models.create", {"model": "product", "values": {"id": created["id"]}, "store": "s2"})
    with pytest.raises(ApiRefusal) as refusal:
        await calls(shop(), again)
    assert refusal.value.code == "unique_violation"
    delete = ("models.delete", {"model": "product", "id": created["id"]})
    assert await calls(shop(), delete)
    assert not await calls(shop(), delete)
    assert await calls(shop(), ("models.get", {"model": "product", "id": created["id"]})) is None
    assert (await calls(shop(), again))["id"] == created["id"]
    assert [event.type for event in await outbox(runtime_pool)] == [
        "product.created",
        "product.deleted",
        "product.created",
    ]


async def test_the_projector_finds_the_plugins_own_event_done_already(
    runtime_pool: Pool, platform_pool: Pool, calls: Calls
) -> None:
    await publish(runtime_pool, "product.created", {"id": "p", "n": 0})
    for number in (1, 2):
        values = {"n": number}
        await calls(shop(), ("models.update", {"model": "product", "id": "p", "values": values}))
    await calls(shop(), ("models.create", {"model": "product", "values": {"id": "q"}}), store="s1")
    await calls(shop(), ("models.delete", {"model": "product", "id": "q"}))
    before = await platform_pool.fetch("SELECT * FROM product ORDER BY id")
    events = await outbox(runtime_pool)
    for delivered in (events, events[:1], events[::-1]):
        for event in delivered:
            await project(runtime_pool, event)
        assert await platform_pool.fetch("SELECT * FROM product ORDER BY id") == before


async def test_a_change_is_newer_than_what_it_changes_also_when_a_tills_clock_is_ahead(
    runtime_pool: Pool, calls: Calls
) -> None:
    ahead = 60 * 24 * 365
    await publish(runtime_pool, "product.created", {"id": "p", "n": 0}, minutes=ahead)
    await calls(shop(), ("models.update", {"model": "product", "id": "p", "values": {"n": 1}}))
    await publish(runtime_pool, "product.created", {"id": "p", "n": 0}, minutes=ahead)
    assert (await calls(shop(), ("models.get", {"model": "product", "id": "p"})))["n"] == 1


async def test_the_same_attempt_again_has_the_same_ids(runtime_pool: Pool, calls: Calls) -> None:
    found = shop()
    create = ("models.create", {"model": "product", "values": {}})
    first, second = [await calls(found, create, cause="e1", keep=False) for _ in range(2)]
    assert first["id"] == second["id"]
    assert (await calls(found, create, cause="e2"))["id"] != first["id"]
    assert len(await outbox(runtime_pool)) == 1


async def test_what_a_failing_hook_changed_is_neither_kept_nor_published(runtime_pool: Pool, calls: Calls) -> None:
    await publish(runtime_pool, "product.created", {"id": "p", "n": 0})
    update = ("models.update", {"model": "product", "id": "p", "values": {"n": 1}})
    await calls(shop(), update, keep=False)
    assert (await calls(shop(), ("models.get", {"model": "product", "id": "p"})))["n"] == 0
    assert await outbox(runtime_pool) == []


@pytest.mark.parametrize(
    ("method", "arguments", "permission"),
    [
        ("models.find", {"model": "sale"}, "sale:read"),
        ("models.get", {"model": "sale", "id": "1"}, "sale:read"),
        ("models.aggregate", {"model": "sale"}, "sale:read"),
        ("models.create", {"model": "store", "values": {}}, "store:create"),
        ("models.update", {"model": "product", "id": "1", "values": {}}, "product:update"),
        ("models.delete", {"model": "employee", "id": "1"}, "employee:delete"),
    ],
)
async def test_each_verb_of_each_model_is_a_permission(
    calls: Calls, method: str, arguments: dict[str, Any], permission: str
) -> None:
    others = tuple(name for name in EVERYTHING if name != permission)
    with pytest.raises(ApiRefusal, match=f"{permission} is needed.*the manifest does not ask for it") as refusal:
        await calls(shop(*others), (method, arguments))
    assert refusal.value.code == "permission_denied"
    declared = (Permission(name=permission, purpose="to test"),)
    asking = installation(grants=others, permissions=declared)
    with pytest.raises(ApiRefusal, match="the organization has not granted it"):
        await calls(asking, (method, arguments))
    await calls(installation(grants=(permission,)), (method, arguments))


async def test_who_may_change_but_not_read_is_told_only_what_was_changed(runtime_pool: Pool, calls: Calls) -> None:
    await publish(runtime_pool, "product.created", {"id": "p", "cost": "1.00"})
    update = ("models.update", {"model": "product", "id": "p", "values": {"n": 1}})
    assert await calls(shop("product:update"), update) == {"id": "p", "storeId": "s1"}


CUSTOMER = {"id": "c", "name": "Ada", "contact": {"email": "ada@example.com", "opt": True}, "tier": "gold"}
SALE = {"id": "1", "customer": {"id": "c", "name": "Ada"}, "cashier": {"id": "e", "name": "Ben"}, "n": 1}


async def test_personal_data_is_absent_without_its_grant(runtime_pool: Pool, calls: Calls) -> None:
    await publish(runtime_pool, "customer.created", CUSTOMER)
    await publish(runtime_pool, "sale.created", SALE)
    for call in (("models.get", {"model": "customer", "id": "c"}), ("models.find", {"model": "customer"})):
        answer = await calls(shop(), call)
        assert "Ada" not in str(answer)
        assert "ada@" not in str(answer)
        assert "Ada" in str(await calls(shop(*EVERYTHING), call))
    sale = await calls(shop(*PLAIN, "employee:personal-data"), ("models.get", {"model": "sale", "id": "1"}))
    assert sale == {"id": "1", "customer": {"id": "c"}, "cashier": {"id": "e", "name": "Ben"}, "n": 1, "storeId": "s1"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": {"name": "Ada"}},
        {"where": {"contact.email": {"contains": "@"}}},
        {"where": {"or": [{"tier": "gold"}, {"and": [{"contact.email": None}]}]}},
        {"where": {"name.0": "A"}},
        {"sort": ["name"]},
        {"sort": ["tier", "-contact.email"]},
    ],
)
async def test_personal_data_can_neither_be_filtered_nor_sorted_by(
    runtime_pool: Pool, calls: Calls, arguments: dict[str, Any]
) -> None:
    await publish(runtime_pool, "customer.created", CUSTOMER)
    with pytest.raises(ApiRefusal, match="customer:personal-data") as refusal:
        await calls(shop(), ("models.find", {"model": "customer", **arguments}))
    assert refusal.value.code == "permission_denied"
    await calls(shop(*EVERYTHING), ("models.find", {"model": "customer", **arguments}))


@pytest.mark.parametrize("arguments", [{"group_by": ["name"]}, {"functions": {"min": ["contact.phone"]}}])
async def test_personal_data_cannot_be_aggregated(calls: Calls, arguments: dict[str, Any]) -> None:
    with pytest.raises(ApiRefusal, match="customer:personal-data"):
        await calls(shop(), ("models.aggregate", {"model": "customer", **arguments}))


async def test_containers_of_personal_data_say_nothing_of_it(runtime_pool: Pool, calls: Calls) -> None:
    """Sorting or grouping by an object would tell what is in it, so it counts as nothing."""
    await publish(runtime_pool, "customer.created", {"id": "a", "x": {"email": "b"}}, {"id": "b", "x": {"email": "a"}})
    assert ids(await calls(shop(), ("models.find", {"model": "customer", "sort": ["x"]}))) == ["a", "b"]
    rows = await calls(shop(), ("models.aggregate", {"model": "customer", "group_by": ["x"]}))
    assert rows == [{"x": None, "count": 2}]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "Eve"},
        {"name": None},
        {"contact": {"email": "eve@example.com"}},
        {"contact": None},
        {"contact": "gone"},
        {"first_name": "Eve"},
        {"staff": [{"name": "Eve"}]},
    ],
)
async def test_personal_data_is_not_written_nor_removed_without_its_grant(
    runtime_pool: Pool, platform_pool: Pool, calls: Calls, values: dict[str, Any]
) -> None:
    await publish(runtime_pool, "customer.created", CUSTOMER)
    update = ("models.update", {"model": "customer", "id": "c", "values": values})
    with pytest.raises(ApiRefusal, match="personal data"):
        await calls(shop(), update)
    await calls(shop(*EVERYTHING), update)


async def test_what_a_plugin_may_not_see_survives_what_it_changes(
    runtime_pool: Pool, platform_pool: Pool, calls: Calls
) -> None:
    await publish(runtime_pool, "customer.created", CUSTOMER)
    values = {"tier": "silver", "contact": {"opt": False}}
    changed = await calls(shop(), ("models.update", {"model": "customer", "id": "c", "values": values}))
    assert changed == {"id": "c", "tier": "silver", "contact": {"opt": False}, "storeId": "s1"}
    stored = json.loads(await platform_pool.fetchval("SELECT data FROM customer"))
    assert stored == {**CUSTOMER, "tier": "silver", "contact": {"email": "ada@example.com", "opt": False}}
    (event,) = await outbox(runtime_pool)
    assert json.loads(event.data) == stored


async def test_a_customer_with_a_name_cannot_be_created_without_the_grant(calls: Calls) -> None:
    create = ("models.create", {"model": "customer", "values": {"name": "John Doe", "email": "john@example.com"}})
    with pytest.raises(ApiRefusal, match="personal data"):
        await calls(shop(), create)
    assert (await calls(shop(*EVERYTHING), create))["name"] == "John Doe"


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("find", {"where": {"a b": 1}}, "unknown_field"),
        ("find", {"where": {"a'}' OR true --": 1}}, "unknown_field"),
        ("find", {"where": {"a..b": 1}}, "unknown_field"),
        ("find", {"where": {"": 1}}, "unknown_field"),
        ("find", {"where": {".".join("abcdefghi"): 1}}, "unknown_field"),
        ("find", {"where": {"a": {"like": 1}}}, "invalid_filter"),
        ("find", {"where": {"a": {"eq": {"b": 1}}}}, "invalid_filter"),
        ("find", {"where": {"a": [1]}}, "invalid_filter"),
        ("find", {"where": {"a": {"lt": True}}}, "invalid_filter"),
        ("find", {"where": {"a": {"lt": None}}}, "invalid_filter"),
        ("find", {"where": {"a": {"in": "b"}}}, "invalid_filter"),
        ("find", {"where": {"a": "\0"}}, "invalid_value"),
        ("find", {"where": {"a": datetime(2026, 1, 1)}}, "invalid_value"),
        ("find", {"where": {"and": []}}, "invalid_filter"),
        ("find", {"sort": ["id; DROP TABLE sale"]}, "unknown_field"),
        ("find", {"sort": ["a", "b", "c", "d", "e"]}, "invalid_sort"),
        ("find", {"limit": 0}, "invalid_limit"),
        ("find", {"limit": 1001}, "invalid_limit"),
        ("find", {"cursor": "rubbish"}, "invalid_cursor"),
        ("find", {"cursor": "k6VzYWxlIJE="}, "invalid_cursor"),
        ("aggregate", {"group_by": ['a"b']}, "unknown_field"),
        ("aggregate", {"functions": {"pg_sleep": ["a"]}}, "invalid_aggregate"),
        ("create", {"values": {"id": ""}}, "invalid_value"),
        ("create", {"values": {}, "store": ""}, "invalid_value"),
        ("create", {"values": {"id": 7}}, "invalid_value"),
        ("create", {"values": {"id": "a\n"}}, "invalid_value"),
        ("create", {"values": {"storeId": "s9"}}, "invalid_value"),
        ("create", {"values": {"a": "\0"}}, "invalid_value"),
        ("create", {"values": {"a": b"bytes"}}, "invalid_value"),
        ("update", {"id": "1", "values": {"id": "2"}}, "invalid_value"),
        ("update", {"id": "1", "values": {"storeId": "s2"}}, "invalid_value"),
        ("get", {"id": 7}, "invalid_arguments"),
        ("find", {"model": "inbox"}, "invalid_arguments"),
        ("find", {"organization": "globex"}, "invalid_arguments"),
    ],
)
async def test_bad_arguments_are_refused_by_name(
    runtime_pool: Pool, calls: Calls, method: str, arguments: dict[str, Any], code: str
) -> None:
    await publish(runtime_pool, "sale.created", {"id": "1"})
    with pytest.raises(ApiRefusal) as refusal:
        await calls(shop(), (f"models.{method}", {"model": "sale", **arguments}))
    assert refusal.value.code == code


async def test_a_store_installation_creates_nowhere_else(calls: Calls) -> None:
    create = ("models.create", {"model": "product", "values": {}, "store": "s2"})
    with pytest.raises(ApiRefusal) as refusal:
        await calls(shop(store="s1"), create)
    assert refusal.value.code == "permission_denied"
    with pytest.raises(ApiRefusal, match="say in which store"):
        await calls(shop(), ("models.create", {"model": "product", "values": {}}), store=None)


async def test_values_nested_without_end_are_refused(calls: Calls) -> None:
    values: dict[str, Any] = {}
    for _ in range(500):
        values = {"a": values}
    with pytest.raises(ApiRefusal, match="nested"):
        await calls(shop(), ("models.create", {"model": "product", "values": values}))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-02-28T23:59:59.123456Z", datetime(2026, 2, 28, 23, 59, 59, 123456, UTC)),
        ("2024-02-29t00:00:00z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-12-31 22:00:00-02:00", datetime(2027, 1, 1, tzinfo=UTC)),
        ("9999-12-31T00:00:00.123456789Z", datetime(9999, 12, 31, 0, 0, 0, 123457, UTC)),
        ("2026-02-29T00:00:00Z", None),
        ("1900-02-29T00:00:00Z", None),
        ("2026-06-31T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-01-00T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:60:00Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00+15:00", None),
        (f"2026-01-01T00:00:00.{'1' * 200}Z", None),
        ("now", None),
        ("", None),
        (7, None),
        (None, None),
        ({"a": 1}, None),
    ],
)
async def test_moments_are_read_or_nothing_and_never_fail(runtime_pool: Pool, written: Any, read: datetime) -> None:
    assert await runtime_pool.fetchval("SELECT outlet_moment($1::jsonb)", json.dumps(written)) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1.10", Decimal("1.10")),
        ("-0", Decimal(0)),
        ("+7", Decimal(7)),
        (12, Decimal(12)),
        (1.5, Decimal("1.5")),
        ("1e5", None),
        (".5", None),
        ("1.", None),
        ("1" * 101, None),
        ("NaN", None),
        ("", None),
        (True, None),
        ([1], None),
    ],
)
async def test_numbers_are_read_or_nothing_and_never_fail(
    runtime_pool: Pool, written: Any, read: Decimal | None
) -> None:
    assert await runtime_pool.fetchval("SELECT outlet_number($1::jsonb)", json.dumps(written)) == read
