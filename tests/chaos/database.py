"""Locks on a database of the platform's, taken from outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def held_lock(url: str, lock: int) -> AsyncIterator[None]:
    """Hold an advisory lock: whoever needs it waits, or does without."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", lock)
        yield
    finally:
        await connection.close()
