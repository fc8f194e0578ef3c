"""Data that outlives its installation, as the worker's doors and its sweeper see it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Directory, Installation
from services.common.events import ORGANIZATION_WIDE
from services.runtime.isolation import ENTER, Scope, act_as_platform
from services.runtime.plugin_api.tables import purge
from services.runtime.retention import archive, repository
from services.runtime.retention.repository import Purpose

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 60.0
SWEEP_BATCH = 100
MOST_LISTED = 1_000
MOST_EXPORTS = 2
"""Archives that one worker sends at once: each holds a connection for as long as its reader takes."""


class ExportsBusy(Exception):
    """This worker sends as many archives as it may."""


class Retention:
    """``days`` is for how long what is left stays."""

    def __init__(self, database: "asyncpg.Pool[asyncpg.Record]", *, days: int) -> None:
        self._database = database
        self._days = days
        self._exports = 0

    async def ask(self, installation: Installation, purpose: Purpose) -> None:
        """Say what is to become of an installation's data when its uninstallation succeeds."""
        async with self._within(installation.organization_id, installation.id) as connection:
            await repository.ask(connection, installation, purpose, self._days)

    async def confirm(self, installation: Installation) -> None:
        """The installation exists: what it took over is its own."""
        async with self._within(installation.organization_id, installation.id) as connection:
            await repository.forget(connection, installation.id, adopted=True)

    async def listed(self, organization: str, store: str | None) -> list[dict[str, Any]]:
        """What an organization (or one store of it) has left, newest first; 1,000 at most."""
        async with self._within(organization) as connection:
            return await repository.listed(connection, organization, store, MOST_LISTED)

    async def export(self, installation_id: str, organization: str, store: str | None) -> AsyncGenerator[bytes]:
        """The archive of what one installation left. Raises NothingRetained or ExportsBusy before the first part."""
        if self._exports == MOST_EXPORTS:
            raise ExportsBusy
        self._exports += 1
        try:
            async with aclosing(archive.parts(self._database, installation_id, organization, store)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._exports -= 1

    async def keep_sweeping(self, directory: Directory) -> None:
        """Drop what has expired, every minute until cancelled; a database that is away delays."""
        while True:
            try:
                await self.sweep(directory)
            except DATABASE_ERRORS as error:
                log.warning("expired data of former installations not dropped, trying again", error=repr(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self, directory: Directory) -> int:
        """Drop the data of up to 100 former installations whose time has come; how many there were."""
        async with self._database.acquire() as connection, connection.transaction():
            await act_as_platform(connection)
            expired = await repository.expired(connection, SWEEP_BATCH)
        return sum([await self._drop(*each, exists=directory.get(each[0]) is not None) for each in expired])

    async def _drop(self, installation_id: str, organization: str, plugin_id: str, *, exists: bool) -> bool:
        """Never what an installation that exists has: it took the data over, or is not uninstalled yet."""
        async with self._within(organization, installation_id) as connection:
            purpose = await repository.lock_expired(connection, installation_id)
            if purpose is None or (exists and purpose != "adopted"):
                return False
            if not exists:
                await purge(connection, plugin_id, installation_id)
                log.info("expired data of a former installation dropped", installation=installation_id)
            await repository.forget(connection, installation_id)
            return not exists

    @asynccontextmanager
    async def _within(self, organization: str, installation_id: str = "") -> AsyncIterator[asyncpg.Connection]:
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute(ENTER, *Scope(organization, ORGANIZATION_WIDE, installation_id).row())
            yield connection
