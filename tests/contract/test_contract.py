"""What the Plugin API does, the same in the test kit's memory as in a real sandbox on a real database."""

from datetime import datetime
from typing import Any

import pytest

from outlet.testing import Reply
from tests.contract.grounds import Ground

FAILED = "! transaction_failed"


async def steps(ground: Ground, *given: dict[str, Any], **options: Any) -> Any:
    """The answers to steps, when the route succeeded; else the code of the failure."""
    answer = await ground.ask("/steps", list(given), **options)
    return answer if isinstance(answer, str) else answer[1]


def table(call: str, **arguments: Any) -> dict[str, Any]:
    return {"do": "table", "call": call, **arguments}


def product(call: str, **arguments: Any) -> dict[str, Any]:
    return {"do": "model", "of": "product", "call": call, **arguments}


ITEM = {"name": "a", "amount": 5, "price": None, "at": None, "open": True, "extra": None}


async def test_rows_have_types_defaults_and_filters(ground: Ground) -> None:
    await ground.install()
    row = {
        "name": "b",
        "price": "D 1.50",
        "at": "T 2026-01-05T10:00:00+01:00",
        "open": False,
        "extra": {"n": [1, "F 2.5"]},
    }
    kept = {**ITEM, **row, "at": "T 2026-01-05T09:00:00+00:00", "extra": {"n": [1, 2.5]}}
    assert await steps(
        ground,
        table("create", values={"name": "a"}),
        table("create", values=row),
        table("find", where={"price": {"gte": 1}}),
        table("find", where={"or": [{"name": {"contains": "A"}}, {"open": False}]}, sort=["-name"]),
        table("find", where={"price": None}),
        table("find", where={"price": {"ne": None}, "extra": {"eq": {"n": [1, "F 2.5"]}}}),
        table("find", where={"name": {"in": ["a", "z", None]}}),
        table("find", where={"at": {"lt": "2026-01-05T09:00:00+00:00"}}),
        table("find", where={"at": {"lte": "T 2026-01-05T09:00:00Z"}}),
        table("find", sort=["price"], limit=1),
        table("find", sort=["-price"], limit=1),
    ) == [ITEM, kept, [kept], [kept, ITEM], [ITEM], [kept], [ITEM], [], [kept], [kept], [ITEM]]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (table("find", where={"nothing": 1}), "unknown_column"),
    (table("find", where={"price": {"like": 1}}), "invalid_filter"),
    (table("find", where={"or": []}), "invalid_filter"),
    (table("find", where={"extra": {"gt": 1}}), "invalid_filter"),
    (table("find", where={"amount": "x"}), "invalid_value"),
    (table("find", limit=0), "invalid_limit"),
    (table("find", limit=1001), "invalid_limit"),
    (table("find", sort=["nothing"]), "unknown_column"),
    (table("find", name="nowhere"), "unknown_table"),
    (table("find", name='x"y'), "unknown_table"),
    (table("find", where={"id": "no uuid"}), "invalid_value"),
    (table("create", values={"name": "a", "nothing": 1}), "unknown_column"),
    (table("create", values={"name": "a", "price": "F 1.5"}), "invalid_value"),
    (table("create", values={"name": 5}), "invalid_value"),
    (table("create", values={"name": "a", "at": "2026-01-01T00:00:00"}), "invalid_value"),
    (table("update", where={}), "invalid_value"),
    (table("update", where={}, values={"amount": 1}, increment={"amount": 1}), "invalid_value"),
    (table("update", where={}, increment={"name": 1}), "invalid_value"),
    (table("upsert", key={"amount": 1}), "invalid_key"),
    (table("aggregate", sum=["name"]), "invalid_value"),
    ({"do": "define"}, "not_allowed_here"),
    ({"do": "raw", "method": "tables.find", "arguments": {"table": 5}}, "invalid_arguments"),
    ({"do": "raw", "method": "tables.find", "arguments": {"table": "items", "x": 1}}, "invalid_arguments"),
    ({"do": "raw", "method": "files.read", "arguments": {}}, "unknown_method"),
    ({"do": "raw", "method": "data.set", "arguments": {"key": "k", "value": "x" * 300_000}}, "too_large"),
    ({"do": "set", "key": "", "value": 1}, "invalid_key"),
    ({"do": "set", "key": "k" * 257, "value": 1}, "invalid_key"),
    ({"do": "set", "key": "k", "value": "x" * 70_000}, "value_too_large"),
    ({"do": "set", "key": "k", "value": 1, "expires_in": 0}, "invalid_value"),
    ({"do": "increment", "key": "k", "by": "F 1.5"}, "invalid_value"),
    ({"do": "list", "limit": 1001}, "invalid_limit"),
    ({"do": "emit", "event": "Not A Name", "data": {}}, "invalid_event_name"),
    ({"do": "emit", "event": "large", "data": {"x": "x" * 70_000}}, "event_too_large"),
    ({"do": "notify", "user_id": "", "title": "a", "message": "b"}, "invalid_value"),
    ({"do": "notify", "user_id": "u", "title": "a", "message": "b", "type": "odd"}, "invalid_arguments"),
    ({"do": "enqueue", "name": "unknown"}, "unknown_job"),
    ({"do": "enqueue", "name": "work", "delay": -1}, "invalid_delay"),
    ({"do": "enqueue", "name": "work", "key": ""}, "invalid_key"),
    ({"do": "enqueue", "name": "work", "payload": "x" * 70_000}, "payload_too_large"),
    ({"do": "set_config", "key": "rate", "value": 0}, "invalid_config"),
    ({"do": "set_config", "key": "other", "value": 1}, "invalid_config"),
    ({"do": "set_config", "key": "token", "value": "x"}, "secret_setting"),
    ({"do": "validate", "data": 1, "schema": {"$ref": "#"}}, "invalid_schema"),
    ({"do": "validate", "data": 1, "schema": {"type": "what"}}, "invalid_schema"),
    (product("find", where={"a b": 1}), "unknown_field"),
    (product("find", where={"price": {"like": 1}}), "invalid_filter"),
    (product("find", where={"price": {"gt": [1]}}), "invalid_filter"),
    (product("find", sort=["a", "b", "c", "d", "e"]), "invalid_sort"),
    (product("find", cursor="!"), "invalid_cursor"),
    (product("find", limit=0), "invalid_limit"),
    (product("create", values={"id": ""}), "invalid_value"),
    (product("create", values={"storeId": "store-2"}), "invalid_value"),
    (product("update", id="p", values={"id": "q"}), "invalid_value"),
    ({"do": "model", "of": "sale", "call": "find"}, "permission_denied"),
    ({"do": "model", "of": "employee", "call": "find"}, "permission_denied"),
    ({"do": "model", "of": "customer", "call": "find", "where": {"email": "a"}}, "permission_denied"),
    ({"do": "model", "of": "customer", "call": "create", "values": {}}, "permission_denied"),
    ({"do": "fetch", "url": "http://api.example.com/"}, "invalid_url"),
    ({"do": "fetch", "url": "https://u:p@api.example.com/"}, "invalid_url"),
    ({"do": "fetch", "url": "https://api.example.com:22/"}, "invalid_url"),
    ({"do": "fetch", "url": "https://elsewhere.example.com/"}, "host_not_declared"),
    ({"do": "fetch", "url": "https://refused.example.com/"}, "host_not_granted"),
    ({"do": "fetch", "url": "https://api.example.com/", "method": "TRACE"}, "invalid_arguments"),
    ({"do": "fetch", "url": "https://api.example.com/", "timeout": 11}, "invalid_arguments"),
    ({"do": "fetch", "url": "https://api.example.com/", "headers": {"Host": "x"}}, "invalid_header"),
    ({"do": "secret", "url": "https://api.example.com/", "name": "rate"}, "unknown_secret"),
    ({"do": "webhook", "event": "product.updated", "url": "https://api.example.com/"}, "unknown_event"),
    ({"do": "webhook", "event": "counted", "url": "https://elsewhere.example.com/"}, "host_not_declared"),
    ({"do": "call", "plugin_id": "other", "method": "GET", "path": "/who"}, "call_not_declared"),
    ({"do": "call", "plugin_id": "contract-neighbour", "method": "GET", "path": "/private"}, "not_exported"),
    ({"do": "call", "plugin_id": "contract-neighbour", "method": "GET", "path": "/a b"}, "invalid_path"),
    ({"do": "call", "plugin_id": "contract-neighbour", "method": "POST", "path": "/fails"}, "call_failed"),
]


async def test_what_cannot_be_is_refused_with_its_code_and_costs_nothing_else(ground: Ground) -> None:
    await ground.install()
    after = {"do": "increment", "key": "after"}
    found = [await steps(ground, step, after) for step, _ in REFUSALS]
    assert found == [[f"! {code}", count] for count, (_, code) in enumerate(REFUSALS, 1)]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (table("create", values={"name": "a"}), "unique_violation"),
        (table("create", values={"amount": 1}), "missing_value"),
        (table("update", where={"name": "a"}, increment={"amount": 2**63 - 1}), "invalid_value"),
        (table("upsert", key={"name": None}), "missing_value"),
    ],
)
async def test_what_the_database_refuses_undoes_the_call_but_for_a_transaction_within_it(
    ground: Ground, step: dict[str, Any], code: str
) -> None:
    await ground.install()
    first, get = table("create", values={"name": "a"}), {"do": "get", "key": "k"}
    assert await steps(ground, first) == [ITEM]
    assert await steps(ground, {"do": "set", "key": "k", "value": 1}, step, get) == "plugin_bad_result"
    inner = {"do": "nested", "steps": [{"do": "set", "key": "k", "value": 2}, step, get]}
    outer = {"do": "set", "key": "kept", "value": 3}
    assert await steps(ground, outer, inner, get) == [None, [None, f"! {code}", FAILED, FAILED], None]
    assert await steps(ground, {"do": "get", "key": "kept"}, get) == [3, None]


async def test_rows_change_in_one_step_or_not_at_all(ground: Ground) -> None:
    await ground.install()
    assert await steps(
        ground,
        table("upsert", key={"name": "a"}, increment={"amount": 2}),
        table("upsert", key={"name": "a"}, values={"open": False}, increment={"amount": -3}),
        table("update", where={"name": "a", "amount": {"gte": 5}}, increment={"amount": -5}),
        table("update", where={"name": "a"}, values={"price": "2.50"}, increment={"amount": 1}),
        table("update", where={"name": "a"}, increment={"price": "D 0.05"}),
        table("delete", where={"name": "nobody"}),
        table("delete", where={}),
    ) == [
        {**ITEM, "amount": 7},
        {**ITEM, "amount": 4, "open": False},
        [],
        [{**ITEM, "amount": 5, "open": False, "price": "D 2.50"}],
        [{**ITEM, "amount": 5, "open": False, "price": "D 2.55"}],
        0,
        1,
    ]


async def test_sums_and_averages_are_exact(ground: Ground) -> None:
    await ground.install()
    made = [
        table("create", values={"name": name, "amount": amount, "price": price, "open": amount > 1})
        for name, amount, price in (("a", 1, "D 0.10"), ("b", 2, "D 0.20"), ("c", 2, None), ("d", 2, "D 19.99"))
    ]
    await steps(ground, *made)
    found = await steps(
        ground,
        table("aggregate", sum=["price", "amount"], avg=["price", "amount"], min=["amount"], max=["price"]),
        table("aggregate", group_by=["open"], avg=["amount"]),
        table("aggregate", group_by=["price"]),
        table("aggregate", where={"name": "nobody"}, sum=["price"]),
        table("aggregate", where={"name": "nobody"}, group_by=["open"]),
    )
    total = {"count": 4, "sum_price": "D 20.29", "sum_amount": "D 7", "avg_price": "D 6.7633333333333333"}
    assert found == [
        [{**total, "avg_amount": "D 1.7500000000000000", "min_amount": 1, "max_price": "D 19.99"}],
        [
            {"open": False, "count": 1, "avg_amount": "D 1.00000000000000000000"},
            {"open": True, "count": 3, "avg_amount": "D 2.0000000000000000"},
        ],
        [{"price": price, "count": 1} for price in ("D 0.10", "D 0.20", "D 19.99", None)],
        [{"count": 0, "sum_price": None}],
        [],
    ]


async def test_keys_hold_json_exactly_and_come_in_pages(ground: Ground) -> None:
    await ground.install()
    assert await steps(
        ground,
        {"do": "set", "key": "p/b", "value": {"n": "D 19.90", "list": [1, None, True]}},
        {"do": "set", "key": "p/a", "value": "text", "expires_in": 60},
        {"do": "increment", "key": "q", "by": "D 0.5"},
        {"do": "increment", "key": "q"},
        {"do": "list", "prefix": "p/", "limit": 1},
        {"do": "list", "prefix": "p/", "cursor": "p/a"},
        {"do": "increment", "key": "p/a"},
        {"do": "delete", "key": "p/a"},
        {"do": "delete", "key": "p/a"},
        {"do": "get", "key": "p/a", "default": "none"},
    ) == [
        None,
        None,
        "D 0.5",
        "D 1.5",
        {"items": {"p/a": "text"}, "cursor": "p/a"},
        {"items": {"p/b": {"n": "D 19.90", "list": [1, None, True]}}, "cursor": None},
        "! not_a_number",
        True,
        False,
        "none",
    ]


async def test_transactions_nest_and_shut_others_out(ground: Ground) -> None:
    await ground.install()
    write = [{"do": "set", "key": key, "value": 1} for key in ("a", "b", "c")]
    inner = {"do": "nested", "steps": [write[1]], "undo": True}
    answer = await steps(ground, {"do": "nested", "steps": [write[0], inner, write[2]]}, {"do": "intruded"})
    assert answer == [[None, [None, "undone"], None], "! transaction_open"]
    assert await steps(ground, *({"do": "get", "key": key} for key in "abc")) == [1, None, 1]
    late = {"do": "set_config", "key": "rate", "value": 3}
    assert await steps(ground, {"do": "nested", "steps": [late]}) == [["! not_allowed_here"]]
    deep: dict[str, Any] = write[0]
    for _ in range(9):
        deep = {"do": "nested", "steps": [deep]}
    assert "! transaction_open" in str(await steps(ground, deep))
    assert await ground.ask("/left-open", {}) == "plugin_bad_result"


async def test_a_hook_is_all_or_nothing_and_happens_once(ground: Ground) -> None:
    await ground.install()
    assert await ground.sale({"id": "s-1"}, event="e-1") is None
    assert await ground.sale({"id": "s-1"}, event="e-1") is None
    assert await ground.sale({"id": "s-2", "fail": True}, event="e-2") == "plugin_raised"
    assert await ground.sale({"id": "s-2"}, event="e-2") is None
    assert await steps(ground, {"do": "get", "key": "sales"}) == [2]
    emitted = [["counted", {"sale": sale, "seen": ["id"]}, "store-1"] for sale in ("s-1", "s-2")]
    assert (await ground.left())["emitted"] == emitted


async def test_personal_data_is_for_those_who_were_granted_it(ground: Ground) -> None:
    await ground.install()
    sale = {"id": "s-1", "customerName": "Ada", "customer": {"id": "c-1", "email": "a@b"}, "total": 1.5}
    assert await ground.sale(sale, event="e-1") is None
    assert (await ground.left())["emitted"][0][1]["seen"] == ["customer", "id", "total"]
    await ground.add("customer", {"id": "c-1", "name": "Ada", "email": "a@b", "tier": "gold"})
    get = {"do": "model", "of": "customer", "call": "find_by_id", "id": "c-1"}
    change = {"do": "model", "of": "customer", "call": "update", "id": "c-1"}
    assert await steps(
        ground, get, {**change, "values": {"name": "Eve"}}, {**change, "values": {"tier": "silver"}}
    ) == [
        {"id": "c-1", "tier": "gold", "storeId": "store-1"},
        "! permission_denied",
        {"id": "c-1", "tier": "silver", "storeId": "store-1"},
    ]
    [published] = (await ground.left())["published"]
    assert published == [
        "customer.updated",
        {"id": "c-1", "name": "Ada", "email": "a@b", "tier": "silver"},
        "store-1",
    ]


PRODUCTS: list[dict[str, Any]] = [
    {"id": "p1", "price": "2.50", "tags": ["tea", "green"], "stock": 5, "made": "2026-01-01T00:00:00Z", "sold": True},
    {"id": "p2", "price": 10, "tags": ["coffee"], "name": "Dark Roast", "made": "2026-02-01T00:00:00+01:00"},
    {"id": "p3", "price": "n/a", "stock": None, "lines": [{"sku": "a"}, {"sku": "b"}]},
]


COMPARED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["p1", "p2", "p3"]),
    ({"price": {"gt": 2}}, ["p1", "p2"]),
    ({"price": {"lt": "D 2.51"}}, ["p1"]),
    ({"price": "2.50"}, ["p1"]),
    ({"price": "10"}, ["p2"]),
    ({"price": {"ne": 10}}, ["p1", "p3"]),
    ({"stock": None}, ["p2", "p3"]),
    ({"stock": {"ne": None}}, ["p1"]),
    ({"stock": {"in": [None, 5]}}, ["p1", "p3"]),
    ({"sold": True}, ["p1"]),
    ({"sold": {"ne": True}}, ["p2", "p3"]),
    ({"tags": {"contains": "tea"}}, ["p1"]),
    ({"name": {"contains": "roast"}}, ["p2"]),
    ({"made": {"gte": "T 2026-01-31T00:00:00Z"}}, ["p2"]),
    ({"lines.1.sku": "b"}, ["p3"]),
    ({"lines.-1.sku": "b"}, ["p3"]),
    ({"lines.2.sku": None}, ["p1", "p2", "p3"]),
    ({"storeId": "store-2"}, []),
    ({"or": [{"id": "p1"}, {"and": [{"id": "p2"}, {"price": 10}]}]}, ["p1", "p2"]),
]


async def test_entities_are_compared_by_the_value_given(ground: Ground) -> None:
    await ground.install()
    for document in PRODUCTS:
        await ground.add("product", document)
    found = await steps(ground, *({"do": "pages", "where": where} for where, _ in COMPARED))
    assert found == [[ids] for _, ids in COMPARED]


async def test_entities_come_in_order_and_in_pages(ground: Ground) -> None:
    await ground.install()
    for document in PRODUCTS:
        await ground.add("product", document)
    await ground.add("product", {"id": "p1", "price": 2.5}, store="store-2")
    find = {"do": "pages", "limit": 2}
    assert await steps(ground, find, {**find, "sort": ["-price"]}, {**find, "sort": ["name", "-made"]}) == [
        [["p1", "p2"], ["p3", "p1"]],
        [["p3", "p2"], ["p1", "p1"]],
        [["p2", "p1"], ["p3", "p1"]],
    ]
    assert await steps(
        ground,
        product("aggregate", group_by=["storeId"], sum=["price"], avg=["price"]),
        product("aggregate", group_by=["stock"]),
        product("aggregate", group_by=["price"], max=["stock"]),
    ) == [
        [
            {"storeId": "store-1", "count": 3, "sum_price": "D 12.50", "avg_price": "D 6.2500000000000000"},
            {"storeId": "store-2", "count": 1, "sum_price": "D 2.5", "avg_price": "D 2.5000000000000000"},
        ],
        [{"stock": 5, "count": 1}, {"stock": None, "count": 3}],
        [
            {"price": "2.50", "count": 1, "max_stock": "D 5"},
            {"price": "n/a", "count": 1, "max_stock": None},
            {"price": "D 2.5", "count": 1, "max_stock": None},
            {"price": 10, "count": 1, "max_stock": None},
        ],
    ]


async def test_entities_are_changed_and_others_are_told(ground: Ground) -> None:
    await ground.install()
    assert await steps(
        ground,
        product("create", values={"id": "p1", "price": "D 2.50", "size": {"w": "F 1.5", "h": 2}}),
        product("create", values={"id": "p1"}),
        product("update", id="p1", values={"size": {"h": None}}),
        product("update", id="p2", values={"size": 1}),
        product("find_by_id", id="p1"),
        product("delete", id="p1"),
        product("delete", id="p1"),
        product("find_by_id", id="p1"),
        product("create", values={"id": "p1"}),
    ) == [
        {"id": "p1", "price": "2.50", "size": {"w": 1.5, "h": 2}, "storeId": "store-1"},
        "! unique_violation",
        {"id": "p1", "price": "2.50", "size": {"w": "D 1.5", "h": None}, "storeId": "store-1"},
        None,
        {"id": "p1", "price": "2.50", "size": {"w": "D 1.5", "h": None}, "storeId": "store-1"},
        True,
        False,
        None,
        {"id": "p1", "storeId": "store-1"},
    ]
    published = (await ground.left())["published"]
    assert [event for event, *_ in published] == [
        "product.created",
        "product.updated",
        "product.deleted",
        "product.created",
    ]


async def test_one_id_in_several_stores(ground: Ground) -> None:
    await ground.install()
    for store in ("store-1", "store-2", "store-3"):
        await ground.add("product", {"id": "p", "in": store}, store=store)
    await ground.add("product", {"id": "q"}, store="store-3")
    get = product("find_by_id", id="p")
    assert await steps(ground, get, {**get, "store": "store-2"}, product("find_by_id", id="q")) == [
        {"id": "p", "in": "store-1", "storeId": "store-1"},
        {"id": "p", "in": "store-2", "storeId": "store-2"},
        {"id": "q", "storeId": "store-3"},
    ]
    assert await steps(ground, get, product("create", values={}), store=None) == ["! ambiguous_id", "! invalid_value"]


async def test_a_plugin_of_one_store_sees_that_store(ground: Ground) -> None:
    await ground.install(store="store-1")
    for store in ("store-1", "store-2"):
        await ground.add("product", {"id": f"of {store}"}, store=store)
        await ground.add("store", {"id": store, "name": store}, store=store)
    assert await steps(
        ground,
        {"do": "pages"},
        product("find_by_id", id="of store-2"),
        product("create", values={"id": "x"}, store="store-2"),
        {"do": "store"},
        {"do": "store", "store": "store-2"},
        {"do": "organization"},
    ) == [
        [["of store-1"]],
        None,
        "! permission_denied",
        {"id": "store-1", "name": "store-1"},
        "! wrong_store",
        {"id": "acme", "stores": ["store-1"]},
    ]


async def test_what_was_not_granted_is_refused_although_it_is_declared(ground: Ground) -> None:
    await ground.install(grants=())
    assert await steps(
        ground,
        product("find"),
        product("create", values={}),
        {"do": "notify", "user_id": "u", "title": "a", "message": "b"},
        {"do": "fetch", "url": "https://api.example.com/"},
        {"do": "call", "plugin_id": "contract-neighbour", "method": "GET", "path": "/who"},
    ) == ["! permission_denied"] * 3 + ["! host_not_granted", "! permission_denied"]


async def test_messages_leave_when_the_call_is_kept(ground: Ground) -> None:
    await ground.install()
    said: list[dict[str, Any]] = [
        {"do": "emit", "event": "said", "data": {"price": "D 1.50"}},
        {"do": "notify", "user_id": "u-1", "title": "Hello", "message": "There", "type": "warning"},
        {"do": "enqueue", "name": "work", "payload": {"at": "T 2026-01-01T00:00:00Z"}},
        {"do": "enqueue", "name": "work", "key": "k"},
    ]
    undone = {"do": "nested", "steps": said, "undo": True}
    broken = table("create", values={})
    assert await steps(ground, *said, broken) == "plugin_bad_result"
    assert await steps(ground, undone) == [[None, None, "twice", "once", "undone"]]
    assert await ground.left() == {"emitted": [], "published": [], "notices": [], "jobs": 0}
    assert await steps(ground, *said) == [None, None, "twice", "once"]
    assert await ground.left() == {
        "emitted": [["said", {"price": "1.50"}, "store-1"]],
        "published": [],
        "notices": [["u-1", "Hello"]],
        "jobs": 3,
    }


@pytest.mark.parametrize(
    ("kind", "answer", "kept"),
    [
        ("echo", [200, {"path": "/answers/echo", "query": {}, "role": "cashier"}], "echo"),
        ("status", [201, {"made": True}], "status"),
        ("error", "plugin_raised", None),
        ("nothing", "plugin_bad_result", None),
        ("exit", "plugin_exited", None),
    ],
)
async def test_what_a_route_answers_decides_what_is_kept(ground: Ground, kind: str, answer: Any, kept: Any) -> None:
    await ground.install()
    assert await ground.ask(f"/answers/{kind}", {}) == answer
    assert await steps(ground, {"do": "get", "key": "kept"}) == [kept]


async def test_a_problem_is_an_answer_that_keeps_nothing(ground: Ground) -> None:
    await ground.install()
    status, problem = await ground.ask("/answers/problem", {})
    assert (status, problem["code"], problem["detail"], problem["source"]) == (409, "not_now", "Later.", "plugin")
    assert await steps(ground, {"do": "get", "key": "kept"}) == [None]
    for path, status in (("/nowhere", 404), ("/answers", 404)):
        assert (await ground.ask(path, {}))[0] == status


async def test_a_repeated_request_gets_the_first_answer(ground: Ground) -> None:
    await ground.install()
    step = {"do": "increment", "key": "n"}
    assert [await steps(ground, step, request=name) for name in ("r-1", "r-1", "r-2")] == [[1], [1], [2]]


async def test_other_plugins_answer_in_transactions_of_their_own(ground: Ground) -> None:
    await ground.install()
    ask = {"do": "call", "plugin_id": "contract-neighbour"}
    who = {**ask, "method": "GET", "path": "/who", "query": {"a": "ä"}}
    keep = {**ask, "method": "POST", "path": "/keep"}
    answer = {"subject": "plugin:contract-probe", "role": "plugin", "query": {"a": "ä"}, "back": "call_cycle"}
    assert await steps(ground, who, keep) == [[200, answer], [200, {"count": 1}]]
    assert await steps(ground, keep, table("create", values={})) == "plugin_bad_result"
    assert await steps(ground, keep) == [[200, {"count": 3}]]


async def test_requests_leave_for_granted_hosts_with_secrets_in_place(ground: Ground) -> None:
    seen: list[Any] = []

    def service(method: str, url: str, headers: Any) -> Reply:
        seen.append((method, url, headers.get("authorization"), "idempotency-key" in headers, headers["user-agent"]))
        if url.endswith("/moved"):
            return Reply(status=302, headers={"Location": "https://elsewhere.example.com/"})
        if url.endswith("/again"):
            return Reply(status=303, headers={"Location": "/there"})
        if url.endswith("/large"):
            return Reply(body=b"x" * 300_000)
        return Reply(body=headers.get("authorization", "-").encode())

    await ground.install()
    ground.answer(service)
    url, fetch = "https://api.example.com", {"do": "fetch"}
    found = await steps(
        ground,
        {**fetch, "url": f"{url}/a"},
        {"do": "secret", "url": f"{url}/b", "name": "token"},
        {**fetch, "url": f"{url}/moved"},
        {**fetch, "url": f"{url}/again", "method": "POST", "json": {"a": 1}},
        {**fetch, "url": f"{url}/large"},
    )
    hidden = {"status": 200, "body": "Bearer {{secret:token}}"}
    assert found[:4] == [{"status": 200, "body": "-"}, hidden, "! host_not_declared", {"status": 200, "body": "-"}]
    assert len(found[4]["body"]) == 300_000
    agent = "outlet-plugin/contract-probe/1.0.0"
    assert seen == [
        ("GET", f"{url}/a", None, False, agent),
        ("GET", f"{url}/b", "Bearer a-secret-of-some-length", False, agent),
        ("GET", f"{url}/moved", None, False, agent),
        ("POST", f"{url}/again", None, True, agent),
        ("GET", f"{url}/there", None, True, agent),
        ("GET", f"{url}/large", None, False, agent),
    ]


async def test_documents_are_checked_with_exact_numbers(ground: Ground) -> None:
    await ground.install()
    schema = {"properties": {"a": {"multipleOf": "D 0.01"}, "b": {"type": "integer"}}, "required": ["c"]}
    check = {"do": "validate", "data": {"a": "D 19.99", "b": "D 0.5"}, "schema": schema}
    [found] = await steps(ground, check)
    assert sorted(path for path, _ in found) == ["$", "$.b"]


async def test_settings_are_checked_and_changed(ground: Ground) -> None:
    await ground.install()
    assert await steps(ground, {"do": "set_config", "key": "label", "value": "short"}) == [None]
    assert await steps(ground, {"do": "set_config", "key": "label", "value": "much too long"}) == ["! invalid_config"]


async def test_a_plugin_that_makes_too_many_calls_fails_for_that_reason(ground: Ground) -> None:
    await ground.install()
    ground.spend(2)
    assert await ground.sale({"id": "s-1", "steps": []}, event="e-1") is None
    assert await ground.sale({"id": "s-2"}, event="e-2") == "plugin_rate_limited"


async def test_jobs_and_ticks_run(ground: Ground) -> None:
    await ground.install()
    await ground.job({"a": [1, "x"]}, 3)
    await ground.tick(datetime.fromisoformat("2026-03-29T03:00:00+02:00"))
    assert await steps(ground, {"do": "get", "key": "job"}, {"do": "get", "key": "tick"}) == [
        [{"a": [1, "x"]}, 3],
        "2026-03-29T03:00:00+02:00",
    ]
