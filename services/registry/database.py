"""Transactions: a use case is one ``async with transaction()``; leaving it commits, an exception rolls back."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.database import sqlalchemy_url
from services.common.errors import Unavailable

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]

POOL_WAIT_SECONDS = 5.0
CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_engine(dsn: str, connections: int) -> AsyncIterator[AsyncEngine]:
    """A pool of at most ``connections`` connections; those that broke are replaced before use."""
    engine = create_async_engine(
        sqlalchemy_url(dsn),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        connect_args={"timeout": CONNECT_SECONDS},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


def transactions(engine: AsyncEngine) -> Transaction:
    """How to begin a transaction. Raises Unavailable (``database_unavailable``) while the database is away."""

    @asynccontextmanager
    async def transaction() -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
            raise Unavailable(
                "The registry's database cannot be reached.",
                code="database_unavailable",
                remedy="Try again in a moment; read the present state before repeating a change.",
            ) from error

    return transaction
