"""Savepoints: what fails inside one leaves what was before it, and nothing slips in or out of it."""

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from services.common.database import DATABASE_ERRORS
from services.runtime.delivery.unit_of_work import (
    MAX_SAVEPOINTS,
    AlreadyDone,
    InboxKey,
    TransactionDoomed,
    UnitOfWork,
    already_done,
    inside,
)
from services.runtime.plugin_api.errors import ApiRefusal

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
KEY = InboxKey("i1", "sale.created", "urn:pos:1", "e1")


async def emit(work: UnitOfWork, key: str) -> None:
    async with work.use(writes=True) as connection:
        await connection.execute("INSERT INTO outbox (topic, key) VALUES ('t', $1)", key)


async def break_a_statement(work: UnitOfWork) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with work.use(writes=True) as connection:
            await connection.execute("SELECT 1 / 0")


async def kept(pool: Pool) -> list[str]:
    return [row["key"] for row in await pool.fetch("SELECT key FROM outbox ORDER BY id")]


async def test_what_is_undone_inside_leaves_what_is_around_it(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work, "before")
    number = await work.begin()
    with inside(number):
        await emit(work, "inside")
        await work.end(keep=False)
    await emit(work, "after")
    await work.commit()
    assert await kept(runtime_pool) == ["before", "after"]


async def test_savepoints_nest(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    outer = await work.begin()
    with inside(outer):
        await emit(work, "outer")
        for keep in (True, False):
            inner = await work.begin()
            with inside(inner):
                await emit(work, f"inner {keep}")
                await work.end(keep=keep)
        await work.end(keep=True)
    await work.commit()
    assert await kept(runtime_pool) == ["outer", "inner True"]


async def test_a_failed_statement_dooms_its_savepoint_only(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work, "before")
    number = await work.begin()
    with inside(number):
        await emit(work, "inside")
        await break_a_statement(work)
        with pytest.raises(TransactionDoomed):
            await emit(work, "too late")
        with pytest.raises(ApiRefusal) as refused:
            await work.end(keep=True)
    assert refused.value.code == "transaction_failed"
    await emit(work, "after")
    await work.commit()
    assert await kept(runtime_pool) == ["before", "after"]


async def test_the_inbox_row_survives_a_savepoint_that_was_begun_before_any_write(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    number = await work.begin()
    with inside(number):
        await emit(work, "inside")
        await work.end(keep=False)
    await emit(work, "after")
    await work.commit()
    assert await already_done(runtime_pool, [KEY]) == {KEY}
    again = UnitOfWork(runtime_pool, KEY)
    with pytest.raises(AlreadyDone):
        await again.begin()
    await again.rollback()


async def test_another_task_cannot_slip_into_an_open_savepoint(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    number = await work.begin()
    for number_claimed in (0, number + 1):
        with inside(number_claimed):
            for intrusion in (emit(work, "intruder"), work.begin(), work.end(keep=True)):
                with pytest.raises(ApiRefusal) as refused:
                    await intrusion
                assert refused.value.code == "transaction_open"
    with inside(number):
        await emit(work, "inside")
        await work.end(keep=True)
        with pytest.raises(ApiRefusal) as ended:
            await emit(work, "after the end")
        assert ended.value.code == "transaction_ended"
    await work.commit()
    assert await kept(runtime_pool) == ["inside"]


async def test_of_two_tasks_that_begin_at_once_one_is_refused(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    begun = await asyncio.gather(work.begin(), work.begin(), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in begun) == ["ApiRefusal", "int"]
    await work.rollback()


async def test_a_call_that_ends_inside_a_savepoint_keeps_nothing(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work, "before")
    await work.begin()
    with pytest.raises(TransactionDoomed):
        await work.commit()
    await work.rollback()
    assert await kept(runtime_pool) == []


async def test_a_lost_connection_dooms_everything_also_inside(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    number = await work.begin()
    with inside(number):
        async with work.use(writes=True) as connection:
            pid = connection.get_server_pid()
        await runtime_pool.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DATABASE_ERRORS):
            await emit(work, "lost")
        with pytest.raises(TransactionDoomed):
            await work.end(keep=False)
    await work.rollback()
    assert work.failure is not None


async def test_nesting_has_an_end(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    number = 0
    for _ in range(MAX_SAVEPOINTS):
        with inside(number):
            number = await work.begin()
    with inside(number), pytest.raises(ApiRefusal):
        await work.begin()
    assert work.nested
    await work.rollback()
