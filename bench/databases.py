"""The one PostgreSQL of a run: a fresh database for each measurement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg

from bench.processes import processor_seconds
from outlet.local.postgres import Postgres


class Databases:
    """Commits are durable (``fsync``), as in production: what that costs is part of what is measured."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._numbers = count(1)

    def processor_seconds(self) -> float:
        """What the server has taken so far."""
        pid = self._server.process.pid
        return processor_seconds([] if pid is None else [pid])

    async def version(self) -> str:
        connection = await asyncpg.connect(self._server.dsn("postgres"))
        try:
            version: str = await connection.fetchval("SHOW server_version")
        finally:
            await connection.close()
        return version

    async def create(self, name: str) -> str:
        """Make an empty database; its dsn."""
        await self._server.create_database(name)
        return self._server.dsn(name)

    @asynccontextmanager
    async def fresh(self, template: str | None = None) -> AsyncIterator[str]:
        """The dsn of a database that is there for the time of a measurement, empty or a copy of ``template``."""
        name = f"bench_{next(self._numbers)}"
        connection = await asyncpg.connect(self._server.dsn("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template1"}"')
        finally:
            await connection.close()
        try:
            yield self._server.dsn(name)
        finally:
            await self._server.drop_database(name)


@asynccontextmanager
async def open_databases(directory: Path) -> AsyncIterator[Databases]:
    """A server for the time of a run."""
    server = Postgres(directory / "postgres")
    await server.start()
    try:
        yield Databases(server)
    finally:
        await server.stop()
