"""A migrated runtime database for each test, and installations to act for."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest_asyncio

from services.common.database import migrate
from services.runtime.models import MIGRATIONS


@pytest_asyncio.fixture(loop_scope="session")
async def runtime_dsn(database: Callable[[str], Awaitable[str]]) -> str:
    dsn = await database(f"runtime_{uuid.uuid4().hex[:8]}")
    await migrate(dsn, MIGRATIONS)
    return dsn


@pytest_asyncio.fixture(loop_scope="session")
async def runtime_pool(runtime_dsn: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    pool = await asyncpg.create_pool(runtime_dsn, min_size=1, max_size=8)
    yield pool
    # Not close(): a test that failed in the middle of a transaction must not make the others wait for it.
    pool.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def platform_pool(runtime_dsn: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """The same database as row-level security shows it to the platform: whole, for a test to look at or to fill."""
    pool = await asyncpg.create_pool(runtime_dsn, min_size=1, max_size=2, server_settings={"outlet.platform": "on"})
    yield pool
    pool.terminate()
