"""Effects happen once: the inbox row and the effects are one transaction."""

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from services.common.database import DATABASE_ERRORS
from services.runtime.delivery.unit_of_work import (
    AlreadyDone,
    InboxKey,
    TransactionDoomed,
    UnitOfWork,
    already_done,
    is_transient,
)
from services.runtime.plugin_api.errors import ApiRefusal

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
KEY = InboxKey("i1", "sale.created", "urn:pos:1", "e1")


async def emit(work: UnitOfWork, key: str = "k") -> None:
    async with work.use(writes=True) as connection:
        await connection.execute("INSERT INTO outbox (topic, key) VALUES ('t', $1)", key)


async def effects(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def test_a_repetition_has_no_effect_and_is_told_what_was_answered(runtime_pool: Pool) -> None:
    first = UnitOfWork(runtime_pool, KEY)
    await emit(first)
    await first.commit(b"answer")
    second = UnitOfWork(runtime_pool, KEY)
    with pytest.raises(AlreadyDone) as done:
        await emit(second)
    await second.rollback()
    assert done.value.result == b"answer"
    assert await effects(runtime_pool) == 1
    other = InboxKey("i2", *KEY.row()[1:])
    assert await already_done(runtime_pool, [KEY, other]) == {KEY}


async def test_a_rollback_leaves_neither_effect_nor_inbox_row(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work)
    await work.rollback()
    assert await effects(runtime_pool) == 0
    assert await already_done(runtime_pool, [KEY]) == set()


async def test_two_workers_at_once_have_one_effect(runtime_pool: Pool) -> None:
    slow, fast = UnitOfWork(runtime_pool, KEY), UnitOfWork(runtime_pool, KEY)
    await emit(slow)
    waiting = asyncio.create_task(emit(fast))
    await slow.commit()
    with pytest.raises(AlreadyDone):
        await waiting
    await fast.rollback()
    assert await effects(runtime_pool) == 1


async def test_when_the_first_of_two_workers_rolls_back_the_second_goes_on(runtime_pool: Pool) -> None:
    broken, healthy = UnitOfWork(runtime_pool, KEY), UnitOfWork(runtime_pool, KEY)
    await emit(broken)
    waiting = asyncio.create_task(emit(healthy))
    await broken.rollback()
    await waiting
    await healthy.commit()
    assert await effects(runtime_pool) == 1


async def test_reading_leaves_no_inbox_row(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    async with work.use(writes=False) as connection:
        await connection.fetchval("SELECT 1")
    await work.commit(b"answer")
    assert await already_done(runtime_pool, [KEY]) == set()


async def test_a_failed_statement_dooms_the_transaction_even_when_the_plugin_swallows_it(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work)
    with pytest.raises(asyncpg.PostgresError):
        async with work.use(writes=True) as connection:
            await connection.execute("INSERT INTO outbox (nothing) VALUES (1)")
    with pytest.raises(TransactionDoomed):
        await emit(work)
    with pytest.raises(TransactionDoomed):
        await work.commit()
    await work.rollback()
    assert await effects(runtime_pool) == 0


async def test_a_cancelled_statement_dooms_the_transaction(runtime_pool: Pool) -> None:
    """PostgreSQL answers COMMIT of such a transaction with a rollback and no error: it must never be asked."""
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work)
    running = asyncio.Event()

    async def long() -> None:
        async with work.use(writes=True) as connection:
            running.set()
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(long())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TransactionDoomed):
        await work.commit()
    await work.rollback()
    assert await effects(runtime_pool) == 0


async def test_a_refusal_before_the_database_was_asked_dooms_nothing(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    with pytest.raises(ApiRefusal):
        async with work.use(writes=True):
            raise ApiRefusal("invalid_value", "no")
    await emit(work)
    await work.commit()
    assert await effects(runtime_pool) == 1


async def test_a_lost_connection_is_transient_and_gives_the_connection_back(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await emit(work)
    async with work.use(writes=True) as connection:
        pid = connection.get_server_pid()
    await runtime_pool.execute("SELECT pg_terminate_backend($1)", pid)
    with pytest.raises(DATABASE_ERRORS) as lost:
        await emit(work)
    await work.rollback()
    assert is_transient(lost.value)
    again = UnitOfWork(runtime_pool, KEY)
    await emit(again)
    await again.commit()
    assert await effects(runtime_pool) == 1


async def test_statements_of_one_call_take_turns_on_its_connection(runtime_pool: Pool) -> None:
    work = UnitOfWork(runtime_pool, KEY)
    await asyncio.gather(*(emit(work, str(number)) for number in range(20)))
    await work.commit()
    assert await effects(runtime_pool) == 20


def test_a_value_that_the_driver_cannot_encode_is_not_transient() -> None:
    from asyncpg.exceptions._base import DataError as DriverDataError

    assert not is_transient(DriverDataError("invalid input for query argument"))
    assert is_transient(asyncpg.DeadlockDetectedError("deadlock detected"))
