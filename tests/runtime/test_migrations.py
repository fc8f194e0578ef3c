from collections.abc import Awaitable, Callable

import asyncpg

from services.common.database import check_drift, downgrade, migrate
from services.runtime.models import MIGRATIONS


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows}


async def test_the_schema_goes_up_down_and_up_and_equals_the_models(
    database: Callable[[str], Awaitable[str]],
) -> None:
    dsn = await database("runtime_migrations")
    await migrate(dsn, MIGRATIONS)
    first = await tables(dsn)
    assert {"sale", "inbox", "outbox", "plugin_table"} <= first
    await check_drift(dsn, MIGRATIONS)
    await downgrade(dsn, MIGRATIONS, "base")
    assert await tables(dsn) == {"alembic_version"}
    await migrate(dsn, MIGRATIONS)
    assert await tables(dsn) == first
