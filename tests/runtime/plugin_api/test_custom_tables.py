"""Custom tables, on a real PostgreSQL, as a plugin reaches them: through the session of one invocation."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from services.common.directory import Installation
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation, Kind
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context, Resources
from services.runtime.plugin_api.session import PluginApiSession
from services.runtime.plugin_api.tables import purge
from tests.runtime.installations import installation
from tests.runtime.resources import resources

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
ACCOUNTS = {
    "columns": {
        "customer": {"type": "text"},
        "points": {"type": "integer", "default": 0},
        "spent": {"type": "decimal", "nullable": True},
        "seen": {"type": "timestamp", "nullable": True},
        "tags": {"type": "json", "default": ["it's"]},
        "vip": {"type": "boolean", "default": False},
    },
    "unique": [["customer"]],
    "indexes": [["points", "vip"]],
}

Call = Callable[..., Awaitable[Any]]


def session_of(
    pool: Pool, found: Installation, kind: Kind = "hook", worker: Resources | None = None
) -> tuple[PluginApiSession, UnitOfWork]:
    invocation = Invocation(found, kind, "sale.created", "urn:test", uuid.uuid4().hex, "s1", b"", 5.0)
    work = UnitOfWork(pool, invocation.key)
    return PluginApiSession(Context(invocation, work, worker or resources())), work


@pytest.fixture
def within(runtime_pool: Pool) -> Callable[..., Any]:
    """Run API calls in one invocation of an installation and commit it."""

    async def run(found: Installation, *calls: tuple[str, dict[str, Any]], kind: Kind = "hook") -> Any:
        session, work = session_of(runtime_pool, found, kind)
        try:
            answers = [await session(method, arguments) for method, arguments in calls]
            await work.commit()
        finally:
            await work.rollback()
        return answers[-1]

    return run


@pytest.fixture
async def acme(within: Call) -> Installation:
    """An installation whose table ``accounts`` exists."""
    found = installation()
    await within(found, ("tables.define", {"name": "accounts", "definition": ACCOUNTS}), kind="lifecycle")
    return found


async def test_a_row_comes_back_with_the_types_of_its_columns(within: Call, acme: Installation) -> None:
    moment = datetime(2026, 11, 1, 12, tzinfo=UTC)
    values = {"customer": "c1", "spent": Decimal("19.90"), "seen": moment, "tags": {"a": [1, None]}, "vip": True}
    created = await within(acme, ("tables.create", {"table": "accounts", "values": values}))
    found = await within(acme, ("tables.find", {"table": "accounts", "where": {"id": created["id"]}}))
    assert found == [created]
    assert {name: created[name] for name in values} == values
    assert created["points"] == 0
    assert isinstance(created["created_at"], datetime)


async def test_defaults_are_the_ones_declared(within: Call, acme: Installation) -> None:
    created = await within(acme, ("tables.create", {"table": "accounts", "values": {"customer": "c1"}}))
    assert (created["points"], created["tags"], created["vip"], created["spent"]) == (0, ["it's"], False, None)


async def test_filters_sort_and_limit(within: Call, acme: Installation) -> None:
    for name, points in (("anna", 10), ("bert", 20), ("Hanna", 30)):
        await within(acme, ("tables.create", {"table": "accounts", "values": {"customer": name, "points": points}}))

    async def names(where: dict[str, Any], **more: Any) -> list[str]:
        rows = await within(acme, ("tables.find", {"table": "accounts", "where": where, "sort": ["points"], **more}))
        return [row["customer"] for row in rows]

    assert await names({"points": {"gte": 10, "lt": 30}}) == ["anna", "bert"]
    assert await names({"customer": {"contains": "ANNA"}}) == ["anna", "Hanna"]
    assert await names({"or": [{"points": 10}, {"customer": {"in": ["bert", "nobody"]}}]}) == ["anna", "bert"]
    assert await names({"points": {"ne": 20}}, sort=["-points"]) == ["Hanna", "anna"]
    assert await names({"spent": None}, limit=1) == ["anna"]
    assert await names({"customer": {"contains": "%"}}) == []
    assert await names({}) == ["anna", "bert", "Hanna"]


async def test_increments_of_many_at_once_are_all_counted(within: Call, acme: Installation) -> None:
    call = ("tables.upsert", {"table": "accounts", "key": {"customer": "c1"}, "increment": {"points": 3}})
    await asyncio.gather(*(within(acme, call) for _ in range(20)))
    rows = await within(acme, ("tables.find", {"table": "accounts", "where": {"customer": "c1"}}))
    assert [row["points"] for row in rows] == [60]


async def test_a_conditional_update_cannot_overdraw(within: Call, acme: Installation) -> None:
    await within(acme, ("tables.create", {"table": "accounts", "values": {"customer": "c1", "points": 10}}))
    take = (
        "tables.update",
        {"table": "accounts", "where": {"customer": "c1", "points": {"gte": 4}}, "increment": {"points": -4}},
    )
    changed = await asyncio.gather(*(within(acme, take) for _ in range(5)))
    assert sorted(map(len, changed)) == [0, 0, 0, 1, 1]
    rows = await within(acme, ("tables.find", {"table": "accounts"}))
    assert rows[0]["points"] == 2


async def test_aggregates_by_group(within: Call, acme: Installation) -> None:
    for name, points, vip in (("a", 1, True), ("b", 2, True), ("c", 5, False)):
        values = {"customer": name, "points": points, "vip": vip}
        await within(acme, ("tables.create", {"table": "accounts", "values": values}))
    rows = await within(
        acme, ("tables.aggregate", {"table": "accounts", "group_by": ["vip"], "functions": {"sum": ["points"]}})
    )
    assert rows == [
        {"vip": False, "count": 1, "sum_points": Decimal(5)},
        {"vip": True, "count": 2, "sum_points": Decimal(3)},
    ]


async def test_installations_share_a_table_and_see_only_their_rows(within: Call, acme: Installation) -> None:
    other = installation(organization="globex")
    await within(other, ("tables.define", {"name": "accounts", "definition": ACCOUNTS}), kind="lifecycle")
    mine = await within(acme, ("tables.create", {"table": "accounts", "values": {"customer": "c1", "points": 1}}))
    await within(other, ("tables.create", {"table": "accounts", "values": {"customer": "c1", "points": 2}}))
    found = await within(other, ("tables.find", {"table": "accounts"}))
    assert [row["points"] for row in found] == [2]
    assert await within(other, ("tables.delete", {"table": "accounts", "where": {"id": mine["id"]}})) == 0
    everything = {"or": [{"id": mine["id"]}, {"points": {"gte": 0}}]}
    assert await within(other, ("tables.delete", {"table": "accounts", "where": everything})) == 1
    assert len(await within(acme, ("tables.find", {"table": "accounts"}))) == 1


async def test_purging_removes_one_installation_only(within: Call, acme: Installation, platform_pool: Pool) -> None:
    other = installation(organization="globex")
    for found in (acme, other):
        await within(found, ("tables.create", {"table": "accounts", "values": {"customer": "c1"}}))
    async with platform_pool.acquire() as connection:
        await purge(connection, acme.plugin_id, acme.id)
    assert await within(acme, ("tables.find", {"table": "accounts"})) == []
    assert len(await within(other, ("tables.find", {"table": "accounts"}))) == 1


async def test_a_table_may_gain_columns_and_its_types_stay(within: Call, acme: Installation) -> None:
    await within(acme, ("tables.create", {"table": "accounts", "values": {"customer": "c1"}}))
    more = {**ACCOUNTS, "columns": {**ACCOUNTS["columns"], "tier": {"type": "text", "default": "basic"}}}  # type: ignore[dict-item]
    await within(acme, ("tables.define", {"name": "accounts", "definition": more}), kind="lifecycle")
    rows = await within(acme, ("tables.find", {"table": "accounts"}))
    assert rows[0]["tier"] == "basic"
    changed = {"columns": {"customer": {"type": "integer"}}}
    with pytest.raises(ApiRefusal, match="exists differently"):
        await within(acme, ("tables.define", {"name": "accounts", "definition": changed}), kind="lifecycle")


def column(**facts: Any) -> dict[str, Any]:
    return {"type": "text", **facts}


def declared(**columns: Any) -> tuple[str, dict[str, Any]]:
    return "tables.define", {"name": "notes", "definition": {"columns": columns}}


def versions_of(one: str, plugin_id: str) -> tuple[Installation, Installation]:
    """An installation at its former version, and as it is after the update."""
    old = installation(plugin_id=plugin_id, digest=f"sha256:{one}1")
    return old, msgspec.structs.replace(old, digest=f"sha256:{one}2")


async def test_a_column_that_a_new_version_leaves_out_is_kept_for_the_way_back(within: Call) -> None:
    old, new = versions_of("a", "leaves-out")
    await within(old, declared(text=column(), mood=column(default="calm")), kind="lifecycle")
    await within(old, ("tables.create", {"table": "notes", "values": {"text": "one", "mood": "glad"}}))
    await within(new, declared(text=column(), weight=column(nullable=True)), kind="lifecycle")
    await within(new, ("tables.create", {"table": "notes", "values": {"text": "two", "weight": "9"}}))
    rows = await within(new, ("tables.find", {"table": "notes", "sort": ["text"]}))
    assert [(row["text"], row["weight"], "mood" in row) for row in rows] == [("one", None, False), ("two", "9", False)]
    rows = await within(old, ("tables.find", {"table": "notes", "sort": ["text"]}))
    assert [(row["text"], row["mood"], "weight" in row) for row in rows] == [
        ("one", "glad", False),
        ("two", "calm", False),
    ]


async def test_versions_of_a_plugin_can_be_installed_beside_each_other_in_any_order(within: Call) -> None:
    old, new = versions_of("b", "any-order")
    await within(new, declared(text=column(), weight=column(nullable=True)), kind="lifecycle")
    await within(old, declared(text=column(), mood=column(default="calm")), kind="lifecycle")
    assert (await within(old, ("tables.create", {"table": "notes", "values": {"text": "x"}})))["mood"] == "calm"
    with pytest.raises(ApiRefusal, match="'mood'"):
        await within(new, ("tables.create", {"table": "notes", "values": {"text": "y", "mood": "glad"}}))


async def test_a_column_without_a_default_is_left_out_only_after_it_was_given_one(within: Call) -> None:
    old, new = versions_of("c", "needs-default")
    await within(old, declared(text=column(), mood=column()), kind="lifecycle")
    with pytest.raises(ApiRefusal, match="give it a default first"):
        await within(new, declared(text=column()), kind="lifecycle")
    await within(new, declared(text=column(), mood=column(default="calm")), kind="lifecycle")
    later = msgspec.structs.replace(new, digest="sha256:c3")
    await within(later, declared(text=column()), kind="lifecycle")
    await within(later, ("tables.create", {"table": "notes", "values": {"text": "x"}}))
    assert (await within(old, ("tables.find", {"table": "notes"})))[0]["mood"] == "calm"
    with pytest.raises(ApiRefusal, match="cannot change"):
        await within(later, declared(text=column(), mood=column(default="glad")), kind="lifecycle")


async def test_what_an_update_read_before_it_declared_its_table_is_not_remembered(
    runtime_pool: Pool, within: Call
) -> None:
    """A failed update must not leave the worker with the former version's columns for the new version."""
    old, new = versions_of("d", "reads-first")
    await within(old, declared(text=column()), kind="lifecycle")
    worker = resources()
    session, work = session_of(runtime_pool, new, "lifecycle", worker)
    assert await session("tables.find", {"table": "notes"}) == []
    await work.rollback()
    await within(new, declared(text=column(), weight=column(nullable=True)), kind="lifecycle")
    session, work = session_of(runtime_pool, new, "hook", worker)
    assert "weight" in await session("tables.create", {"table": "notes", "values": {"text": "x"}})
    await work.rollback()


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("tables.create", {"table": "accounts", "values": {"customer": 7}}, "invalid_value"),
        ("tables.create", {"table": "accounts", "values": {"customer": "c", "spent": 1.5}}, "invalid_value"),
        ("tables.create", {"table": "accounts", "values": {"customer": "c", "points": 2**63}}, "invalid_value"),
        ("tables.create", {"table": "accounts", "values": {"customer": "c", "points": True}}, "invalid_value"),
        ("tables.create", {"table": "accounts", "values": {}}, "missing_value"),
        ("tables.create", {"table": "accounts", "values": {"installation_id": "x"}}, "unknown_column"),
        ("tables.create", {"table": "accounts", "values": {'x" = 1; --': "x"}}, "unknown_column"),
        ("tables.find", {"table": "accounts", "where": {"nothing": 1}}, "unknown_column"),
        ("tables.find", {"table": "accounts", "where": {"points": {"like": 1}}}, "invalid_filter"),
        ("tables.find", {"table": "accounts", "where": {"id": "not-a-uuid"}}, "invalid_value"),
        ("tables.find", {"table": "accounts", "sort": ["points; drop table x"]}, "unknown_column"),
        ("tables.find", {"table": "accounts", "limit": 100_000}, "invalid_limit"),
        ("tables.find", {"table": 'accounts"; drop table x'}, "unknown_table"),
        ("tables.update", {"table": "accounts", "where": {}, "increment": {"customer": 1}}, "invalid_value"),
        ("tables.upsert", {"table": "accounts", "key": {"points": 1}}, "invalid_key"),
        (
            "tables.upsert",
            {"table": "accounts", "key": {"customer": "c"}, "values": {"customer": "d"}},
            "invalid_value",
        ),
        (
            "tables.update",
            {"table": "accounts", "where": {}, "values": {"points": 1}, "increment": {"points": 1}},
            "invalid_value",
        ),
        ("tables.find", {"table": "\0"}, "unknown_table"),
        ("tables.aggregate", {"table": "accounts", "functions": {"pg_sleep": ["points"]}}, "invalid_aggregate"),
        ("tables.define", {"name": "more", "definition": ACCOUNTS}, "not_allowed_here"),
        ("tables.find", {"tables": "accounts"}, "invalid_arguments"),
        ("os.system", {}, "unknown_method"),
    ],
)
async def test_bad_arguments_are_refused_by_name(
    within: Call, acme: Installation, method: str, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(ApiRefusal) as refusal:
        await within(acme, (method, arguments))
    assert refusal.value.code == code


async def test_a_second_row_of_a_unique_value_is_refused(within: Call, acme: Installation) -> None:
    call = ("tables.create", {"table": "accounts", "values": {"customer": "c1"}})
    await within(acme, call)
    with pytest.raises(ApiRefusal) as refusal:
        await within(acme, call)
    assert refusal.value.code == "unique_violation"


@pytest.mark.parametrize(
    "definition",
    [
        {"columns": {}},
        {"columns": {"id": {"type": "text"}}},
        {"columns": {"Name": {"type": "text"}}},
        {"columns": {"a": {"type": "money"}}},
        {"columns": {"a": {"type": "text"}}, "unique": [["b"]]},
        {"columns": {"a": {"type": "integer", "default": "x'; drop table y; --"}}},
        {"columns": {"a": {"type": "text", "primary": True}}},
    ],
)
async def test_an_impossible_table_is_refused(within: Call, definition: dict[str, Any]) -> None:
    with pytest.raises(ApiRefusal):
        await within(installation(), ("tables.define", {"name": "t", "definition": definition}), kind="lifecycle")


async def test_a_default_is_data_and_never_sql(within: Call) -> None:
    found = installation(plugin_id="quoting")
    nasty = "'); DROP TABLE inbox; --"
    definition = {"columns": {"a": {"type": "text", "default": nasty}, "b": {"type": "text", "nullable": True}}}
    await within(found, ("tables.define", {"name": "t", "definition": definition}), kind="lifecycle")
    created = await within(found, ("tables.create", {"table": "t", "values": {"b": "x"}}))
    assert created["a"] == nasty


async def test_emitted_events_wait_in_the_outbox_with_ids_that_a_repetition_repeats(
    runtime_pool: Pool, acme: Installation
) -> None:
    invocation = Invocation(acme, "hook", "sale.created", "urn:pos", "e1", "s1", b"", 5.0)
    ids = set()
    for _ in range(2):
        work = UnitOfWork(runtime_pool, invocation.key)
        session = PluginApiSession(Context(invocation, work, resources()))
        await session("events.emit", {"event": "points-earned", "data": {"points": 3}})
        async with work.use(writes=False) as connection:
            row = await connection.fetchrow("SELECT * FROM outbox")
        headers = json.loads(row["headers"])
        ids.add(headers["ce_id"])
        await work.rollback()
    assert headers["ce_type"] == "loyalty-points/points-earned"
    assert len(ids) == 1


async def test_a_plugin_that_names_its_tables_makes_no_others(within: Call) -> None:
    found = installation(tables=("accounts",))
    await within(found, ("tables.define", {"name": "accounts", "definition": ACCOUNTS}), kind="lifecycle")
    with pytest.raises(ApiRefusal) as refused:
        await within(found, ("tables.define", {"name": "others", "definition": ACCOUNTS}), kind="lifecycle")
    assert refused.value.code == "table_not_declared"
