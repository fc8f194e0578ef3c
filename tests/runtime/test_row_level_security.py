"""The second wall by itself: statements that nobody has scoped, and what they reach all the same."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import pytest

from services.common.events import DomainEvent
from services.runtime.commerce import projector
from services.runtime.delivery.unit_of_work import InboxKey, UnitOfWork
from services.runtime.isolation import Scope, Unprotected, require_protection
from services.runtime.plugin_api.definition import create_statements, read_definition

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

PLACES = [(organization, store) for organization in ("acme", "globex") for store in ("s1", "s2")]
ENTITIES = ("sale", "product", "customer", "employee", "store")


@asynccontextmanager
async def acting(pool: Pool, scope: Scope | None, *, writes: bool = False) -> AsyncIterator[asyncpg.Connection]:
    work = UnitOfWork(pool, InboxKey(scope.installation if scope else "i0", "t", "s", uuid.uuid4().hex), scope)
    try:
        async with work.use(writes=writes) as connection:
            yield connection
        await work.commit()
    finally:
        await work.rollback()


@pytest.fixture
async def filled(runtime_pool: Pool) -> Pool:
    """One entity of each kind in two stores of two organizations."""
    events = [
        DomainEvent("e", f"{entity}.created", "urn:pos", "2026-11-01T12:00:00Z", organization, store, b'{"id": "1"}')
        for entity in ENTITIES
        for organization, store in PLACES
    ]
    async with runtime_pool.acquire() as connection:
        await projector.apply(connection, [change for event in events if (change := projector.read_change(event))])
    return runtime_pool


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (Scope("acme", "s1", "i1"), [("acme", "s1")]),
        (Scope("acme", "*", "i1"), [("acme", "s1"), ("acme", "s2")]),
        (Scope("acme", "", "i1"), []),
        (Scope("", "*", "i1"), []),
        (Scope("*", "*", "i1"), []),
        (Scope("ACME", "*", "i1"), []),
        (None, []),
    ],
)
async def test_an_unscoped_query_sees_the_scope_and_nothing_else(
    filled: Pool, scope: Scope | None, seen: list[tuple[str, str]], writes: bool
) -> None:
    for entity in ENTITIES:
        async with acting(filled, scope, writes=writes) as connection:
            rows = await connection.fetch(f"SELECT organization_id, store_id FROM {entity} ORDER BY 1, 2")  # noqa: S608
        assert [tuple(row) for row in rows] == seen


async def test_without_a_unit_of_work_there_are_no_rows(filled: Pool) -> None:
    assert await filled.fetchval("SELECT count(*) FROM sale") == 0


async def test_a_connection_keeps_nothing_of_the_scope_it_served(filled: Pool) -> None:
    async with acting(filled, Scope("acme", "*", "i1")) as connection:
        pid = connection.get_server_pid()
    async with filled.acquire() as connection:
        assert connection.get_server_pid() == pid
        assert await connection.fetchval("SELECT count(*) FROM sale") == 0


async def test_the_platforms_setting_ends_where_a_unit_of_work_begins(platform_pool: Pool, filled: Pool) -> None:
    assert await platform_pool.fetchval("SELECT count(*) FROM sale") == len(PLACES)
    async with acting(platform_pool, Scope("acme", "s1", "i1")) as connection:
        assert await connection.fetchval("SELECT count(*) FROM sale") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sale VALUES ('globex', 's1', 'new', '{}', now())",
        "INSERT INTO sale VALUES ('acme', 's2', 'new', '{}', now())",
        "UPDATE sale SET organization_id = 'globex', id = 'moved'",
        "UPDATE sale SET store_id = 's2', id = 'moved'",
        "INSERT INTO sale VALUES ('globex', 's1', '1', '{}', now()) "
        "ON CONFLICT (organization_id, store_id, id) DO UPDATE SET data = excluded.data",
    ],
)
async def test_rows_are_neither_written_for_others_nor_moved_to_them(filled: Pool, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting(filled, Scope("acme", "s1", "i1"), writes=True) as connection:
            await connection.execute(statement)


async def test_an_unscoped_update_and_delete_touch_the_scope_only(filled: Pool, platform_pool: Pool) -> None:
    async with acting(filled, Scope("acme", "s1", "i1"), writes=True) as connection:
        assert await connection.execute("UPDATE sale SET data = '{}'") == "UPDATE 1"
        assert await connection.execute("DELETE FROM sale") == "DELETE 1"
    left = await platform_pool.fetch("SELECT organization_id, store_id, data FROM sale ORDER BY 1, 2")
    assert [tuple(row) for row in left] == [(*place, '{"id": "1"}') for place in PLACES[1:]]


async def test_the_rows_of_a_custom_table_are_one_installations_each(runtime_pool: Pool) -> None:
    definition = read_definition({"columns": {"name": {"type": "text"}}})
    async with acting(runtime_pool, None, writes=True) as connection:
        for statement in create_statements("plugin_data.things", definition):
            await connection.execute(statement)
    for installation in ("i1", "i2"):
        async with acting(runtime_pool, Scope("acme", "*", installation), writes=True) as connection:
            insert = "INSERT INTO plugin_data.things (installation_id, name) VALUES ($1, $1)"
            await connection.execute(insert, installation)
    async with acting(runtime_pool, Scope("acme", "*", "i1")) as connection:
        assert [row["name"] for row in await connection.fetch("SELECT name FROM plugin_data.things")] == ["i1"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting(runtime_pool, Scope("acme", "*", "i1"), writes=True) as connection:
            await connection.execute("UPDATE plugin_data.things SET installation_id = 'i2'")


async def test_a_role_above_the_policies_is_refused(runtime_pool: Pool) -> None:
    await require_protection(runtime_pool)

    class Superuser:
        async def fetchval(self, _: str) -> bool:
            return True

    with pytest.raises(Unprotected, match="bypasses row-level security"):
        await require_protection(Superuser())


async def test_every_table_with_rows_of_somebody_is_protected(runtime_pool: Pool) -> None:
    """Whoever adds a table with an organization or an installation adds its policies, or its name here."""
    # Read and written by the host under keys of its own making, for all installations at once.
    hosts_own = {"inbox", "attempt_ledger", "background_work", "schedule_clock"}
    rows = await runtime_pool.fetch(
        "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'plugin_data') "
        "AND NOT (c.relrowsecurity AND c.relforcerowsecurity) AND EXISTS (SELECT FROM pg_attribute a "
        "WHERE a.attrelid = c.oid AND a.attname IN ('organization_id', 'installation_id'))"
    )
    assert {row["name"] for row in rows} == hosts_own
