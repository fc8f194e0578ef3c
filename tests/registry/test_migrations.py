from collections.abc import Awaitable, Callable

import asyncpg

from services.common.database import check_drift, downgrade, migrate
from services.registry.app import MIGRATIONS


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows} - {"alembic_version"}


async def test_migrations_go_up_down_and_up_again_without_drift(database: Callable[[str], Awaitable[str]]) -> None:
    dsn = await database("migrations")
    await migrate(dsn, MIGRATIONS)
    await check_drift(dsn, MIGRATIONS)
    assert "installation" in await tables(dsn)
    await downgrade(dsn, MIGRATIONS, "base")
    assert await tables(dsn) == set()
    await migrate(dsn, MIGRATIONS)
    await check_drift(dsn, MIGRATIONS)
