"""PostgreSQL: connection addresses and migrations, alike for every service that owns a database."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MIGRATION_LOCK = 7_002

DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""All that a statement can raise. A connection whose server has just gone raises asyncpg's InternalClientError too."""


def sqlalchemy_url(dsn: str) -> str:
    """``postgresql://...`` as SQLAlchemy wants it for asyncpg."""
    return dsn.replace("postgresql://", "postgresql+asyncpg://", 1)


async def migrate(dsn: str, migrations: Path, revision: str = "head") -> None:
    """Bring the schema to ``revision``, whole or not at all; services that start together take turns."""
    await _run(dsn, migrations, lambda config: command.upgrade(config, revision))


async def downgrade(dsn: str, migrations: Path, revision: str) -> None:
    """Take the schema back to ``revision`` (``base``: nothing)."""
    await _run(dsn, migrations, lambda config: command.downgrade(config, revision))


async def check_drift(dsn: str, migrations: Path) -> None:
    """Raise :class:`alembic.util.CommandError` when models and migrations differ."""
    await _run(dsn, migrations, command.check)


async def _run(dsn: str, migrations: Path, action: Callable[[Config], object]) -> None:
    engine = create_async_engine(sqlalchemy_url(dsn), poolclass=NullPool)

    def within(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config = Config()
        config.set_main_option("script_location", str(migrations))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        action(config)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(within)
    finally:
        await engine.dispose()


def run_migrations(metadata: MetaData) -> None:
    """The body of every ``env.py``: run within the connection that :func:`migrate` opened."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()
