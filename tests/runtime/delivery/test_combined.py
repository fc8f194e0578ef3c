"""Like statements go to PostgreSQL together, and each caller gets what it would have got alone."""

import asyncio
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.runtime.delivery import combined
from services.runtime.delivery.combined import Statement

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

INSERT = "INSERT INTO counted (name, points) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
ADD = "UPDATE counted SET points = points + $2 WHERE name = $1 RETURNING name, points"
READ = "SELECT points, name FROM counted WHERE points >= $1 ORDER BY points DESC"


async def run(pool: Pool, *statements: Statement) -> list[Any]:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE TABLE IF NOT EXISTS counted (name text PRIMARY KEY, points int)")
        await combined.run(connection, statements)
    return [await statement.outcome for statement in statements]


def execute(sql: str, *arguments: Any) -> Statement:
    return Statement(sql, arguments, status=True)


def fetch(sql: str, *arguments: Any) -> Statement:
    return Statement(sql, arguments, status=False)


async def test_each_statement_has_its_own_status(runtime_pool: Pool) -> None:
    inserts = [execute(INSERT, name, 1) for name in ("a", "b", "a")]
    assert await run(runtime_pool, *inserts) == ["INSERT 0 1", "INSERT 0 1", "INSERT 0 0"]
    delete = "DELETE FROM counted WHERE points = $1"
    assert await run(runtime_pool, execute(delete, 5), execute(delete, 1)) == ["DELETE 0", "DELETE 2"]


async def test_each_statement_has_its_own_rows_also_none_or_many(runtime_pool: Pool) -> None:
    await run(runtime_pool, execute(INSERT, "a", 1), execute(INSERT, "b", 2), execute(INSERT, "c", 3))
    many, none, one = await run(runtime_pool, fetch(READ, 2), fetch(READ, 9), fetch(READ, 3))
    assert [tuple(row) for row in many] == [(3, "c"), (2, "b")]
    assert none == []
    [row] = one
    assert (row["points"], row[1], len(row), dict(row)) == (3, "c", 2, {"points": 3, "name": "c"})
    assert (row.keys(), row.values()) == (["points", "name"], [3, "c"])
    assert row.items() == [("points", 3), ("name", "c")]


async def test_a_statement_sees_what_a_like_one_before_it_did(runtime_pool: Pool) -> None:
    await run(runtime_pool, execute(INSERT, "a", 0))
    answers = await run(runtime_pool, *(fetch(ADD, "a", 1) for _ in range(5)), fetch(ADD, "nobody", 1))
    assert [[row["points"] for row in rows] for rows in answers] == [[1], [2], [3], [4], [5], []]


async def test_what_cannot_be_put_into_another_statement_goes_by_itself(runtime_pool: Pool) -> None:
    await run(runtime_pool, execute(INSERT, "a", 0))
    changing = "WITH changed AS (UPDATE counted SET points = $1 RETURNING points) SELECT points FROM changed"
    answers = await run(runtime_pool, fetch(changing, 3), fetch(changing, 4), execute("SELECT $1::int", 1))
    assert [[row["points"] for row in rows] for rows in answers[:2]] == [[3], [4]]
    assert await run(runtime_pool, execute("SELECT $1::int", 1), execute("SELECT $1::int", 2)) == ["SELECT 1"] * 2


async def test_when_one_fails_nobody_is_answered(runtime_pool: Pool) -> None:
    statements = [execute(INSERT, "a", 1), fetch("SELECT 1 / $1::int", 0), execute(INSERT, "b", 1)]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await run(runtime_pool, *statements)
    assert not any(statement.outcome.done() for statement in statements)


async def test_a_caller_that_has_gone_is_no_obstacle(runtime_pool: Pool) -> None:
    gone, waits = execute(INSERT, "a", 1), execute(INSERT, "b", 1)
    gone.outcome.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run(runtime_pool, gone, waits)
    assert await waits.outcome == "INSERT 0 1"
