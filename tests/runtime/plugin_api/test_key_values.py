"""Key-value data on a real PostgreSQL, through the session of one invocation."""

import asyncio
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.common.directory import Installation
from services.runtime.delivery.unit_of_work import InboxKey, UnitOfWork
from services.runtime.isolation import Scope
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.key_value_store import KeyValueStore, sweep
from services.runtime.plugin_api.tables import purge
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
def calls(runtime_pool: Pool) -> Calls:
    return Calls(runtime_pool)


@pytest.fixture
def acme() -> Installation:
    return installation()


def put(key: str, value: Any, expires_in: float | None = None) -> tuple[str, dict[str, Any]]:
    return "data.set", {"key": key, "value": value, "expires_in": expires_in}


def get(key: str) -> tuple[str, dict[str, Any]]:
    return "data.get", {"key": key}


def add(key: str, by: Any = 1, expires_in: float | None = None) -> tuple[str, dict[str, Any]]:
    return "data.increment", {"key": key, "by": by, "expires_in": expires_in}


async def refusal(answer: Any) -> str:
    with pytest.raises(ApiRefusal) as refused:
        await answer
    return refused.value.code


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**63), "é\"'\\", Decimal("19.90"), Decimal("1E-7"), [1, [2, {}]], {"a": {"b": None}}],
    ids=repr,
)
async def test_a_value_comes_back_as_it_was(calls: Calls, acme: Installation, value: Any) -> None:
    assert await calls(acme, put("k", value), get("k")) == [value]


async def test_a_float_becomes_the_decimal_that_it_looks_like(calls: Calls, acme: Installation) -> None:
    assert await calls(acme, put("k", 0.1), get("k")) == [Decimal("0.1")]


async def test_a_null_that_is_stored_is_told_from_nothing(calls: Calls, acme: Installation) -> None:
    assert await calls(acme, put("k", None), get("k")) == [None]
    assert await calls(acme, get("other")) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 70_000, "value_too_large"),
        ("\0", "invalid_value"),
        ("\ud800", "invalid_value"),
        ({"a\0": 1}, "invalid_value"),
        (float("nan"), "invalid_value"),
        (float("-inf"), "invalid_value"),
        (Decimal("1E+100000"), "invalid_value"),
        (b"bytes", "invalid_value"),
        ({1: 2}, "invalid_value"),
    ],
    ids=["large", "nul", "surrogate", "nul in a key", "nan", "infinity", "exponent", "bytes", "no text"],
)
async def test_what_cannot_be_kept_is_refused_and_spoils_nothing(
    calls: Calls, acme: Installation, value: Any, code: str
) -> None:
    async def within() -> None:
        await calls(acme, put("k", value))

    assert await refusal(within()) == code
    assert await calls(acme, put("k", 1), get("k")) == [1]


async def test_what_is_nested_without_end_is_refused(calls: Calls, acme: Installation) -> None:
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    assert await refusal(calls(acme, put("k", nested))) == "invalid_value"


@pytest.mark.parametrize("key", ["", "k" * 257, "a\0b"])
async def test_keys_are_short_texts(calls: Calls, acme: Installation, key: str) -> None:
    assert await refusal(calls(acme, put(key, 1))) == "invalid_key"


async def test_installations_never_see_each_others_keys(calls: Calls, acme: Installation) -> None:
    globex = installation(organization="globex")
    await calls(acme, put("k", "acme"))
    assert await calls(globex, get("k")) == []
    await calls(globex, put("k", "globex"), ("data.delete", {"key": "k"}))
    assert await calls(acme, get("k")) == ["acme"]


async def test_an_expired_entry_is_gone_at_once_and_its_row_later(
    calls: Calls, acme: Installation, platform_pool: Pool, runtime_pool: Pool
) -> None:
    await calls(acme, put("short", 1, 0.05), put("long", 2, 3_600), add("count", 5, 0.05))
    await asyncio.sleep(0.06)
    assert await calls(acme, get("short")) == []
    listed = await calls(acme, ("data.list", {}))
    assert listed == {"items": [("long", 2)], "cursor": None}
    assert await calls(acme, ("data.delete", {"key": "short"})) is False
    assert await calls(acme, add("count", 1)) == 1
    await calls(acme, put("again", 1, 0.01))
    await asyncio.sleep(0.02)
    assert await sweep(runtime_pool) == 1
    assert await platform_pool.fetchval("SELECT count(*) FROM plugin_value") == 2


async def test_concurrent_increments_all_count(calls: Calls, acme: Installation) -> None:
    sums = await asyncio.gather(*(calls(acme, add("n")) for _ in range(40)))
    assert sorted(sums) == list(range(1, 41))
    assert await calls(acme, add("n", Decimal("0.10")), get("n")) == [Decimal("40.10")]


async def test_an_increment_keeps_the_time_that_a_key_has(calls: Calls, acme: Installation) -> None:
    await calls(acme, add("n", 1, 0.05), add("n", 1, 3_600))
    await asyncio.sleep(0.06)
    assert await calls(acme, get("n")) == []


@pytest.mark.parametrize("by", [True, "1", 0.5, None, Decimal("1E+500")])
async def test_only_exact_numbers_are_added(calls: Calls, acme: Installation, by: Any) -> None:
    assert await refusal(calls(acme, add("n", by))) == "invalid_value"


async def test_a_text_is_not_added_to_and_the_call_goes_on(calls: Calls, acme: Installation) -> None:
    await calls(acme, put("k", "text"))
    assert await refusal(calls(acme, add("k"))) == "not_a_number"
    assert await calls(acme, get("k")) == ["text"]


async def test_keys_are_listed_page_by_page_in_their_order(calls: Calls, acme: Installation) -> None:
    for key in ("a/1", "a/2", "a/3", "a%", "b", "A", "é"):
        await calls(acme, put(key, key))
    first = await calls(acme, ("data.list", {"prefix": "a/", "limit": 2}))
    assert first == {"items": [("a/1", "a/1"), ("a/2", "a/2")], "cursor": "a/2"}
    rest = await calls(acme, ("data.list", {"prefix": "a/", "limit": 2, "cursor": first["cursor"]}))
    assert rest == {"items": [("a/3", "a/3")], "cursor": None}
    everything = await calls(acme, ("data.list", {}))
    assert [key for key, _ in everything["items"]] == ["A", "a%", "a/1", "a/2", "a/3", "b", "é"]
    assert await calls(acme, ("data.list", {"prefix": "%"})) == {"items": [], "cursor": None}


async def test_a_page_of_large_values_ends_before_it_is_too_large_to_send(calls: Calls, acme: Installation) -> None:
    for number in range(6):
        await calls(acme, put(f"k{number}", "x" * 60_000))
    page = await calls(acme, ("data.list", {}))
    assert (len(page["items"]), page["cursor"]) == (3, "k2")
    assert await refusal(calls(acme, ("data.list", {"limit": 1_001}))) == "invalid_limit"


async def test_keys_have_a_number_that_expired_ones_do_not_count_in(runtime_pool: Pool, acme: Installation) -> None:
    work = UnitOfWork(runtime_pool, InboxKey(acme.id, "t", "s", "i"), Scope(installation=acme.id))
    async with work.use(writes=True) as connection:
        store = KeyValueStore(connection, acme.id, max_keys=3)
        for number in range(3):
            await store.set(f"k{number}", "1", None)
        assert await refusal(store.set("k3", "1", None)) == "too_many_keys"
        assert await refusal(store.increment("k4", Decimal(1), None)) == "too_many_keys"
        await store.set("k0", "2", None)
        await connection.execute("UPDATE plugin_value SET expires_at = now() - interval '1 s' WHERE key = 'k1'")
        await store.set("k3", "1", None)
    await work.rollback()


async def test_uninstalling_deletes_the_entries_of_that_installation_alone(
    calls: Calls, acme: Installation, platform_pool: Pool
) -> None:
    other = installation()
    await calls(acme, put("k", 1))
    await calls(other, put("k", 1))
    async with platform_pool.acquire() as connection:
        await purge(connection, acme.plugin_id, acme.id)
    assert await calls(acme, get("k")) == []
    assert await calls(other, get("k")) == [1]


async def test_the_database_itself_keeps_installations_apart(
    runtime_pool: Pool, calls: Calls, acme: Installation
) -> None:
    await calls(acme, put("k", 1))
    assert await runtime_pool.fetchval("SELECT count(*) FROM plugin_value") == 0
    stranger = UnitOfWork(runtime_pool, InboxKey("other", "t", "s", "i"), Scope(installation="other"))
    async with stranger.use(writes=True) as connection:
        assert await connection.fetchval("SELECT count(*) FROM plugin_value") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO plugin_value VALUES ($1, 'forged', '1')", acme.id)
    await stranger.rollback()
