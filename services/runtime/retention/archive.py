"""What an installation left, as JSON Lines, read while it is sent: an archive of any size takes the same memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import asyncpg
import msgspec

from services.common.events import ORGANIZATION_WIDE
from services.runtime.isolation import ENTER, Scope
from services.runtime.plugin_api.definition import physical_name
from services.runtime.retention import repository

FORMAT = "outlet-export/1"
PREFETCH = 50
PART_BYTES = 64 * 1024
MOST_BYTES = 1024 * 1024
"""No part is larger, whatever one line takes."""

_VALUES = """
SELECT jsonb_build_object('type', 'value', 'key', key, 'value', value, 'expiresAt', expires_at)::text AS line
FROM plugin_value WHERE installation_id = $1 AND (expires_at IS NULL OR expires_at > now()) ORDER BY key
"""
_DEFINITION = "SELECT definition::text FROM plugin_table WHERE plugin_id = $1 AND name = $2"


class NothingRetained(Exception):
    """The caller's organization (or store) has nothing left of this installation."""


async def parts(
    database: "asyncpg.Pool[asyncpg.Record]", installation_id: str, organization: str, store: str | None
) -> AsyncGenerator[bytes]:
    """The archive in parts of at most 1 MiB. Raises NothingRetained before the first one."""
    waiting = bytearray()
    # Closed with this one: a reader that goes away must not leave the transaction open.
    async with aclosing(_lines(database, installation_id, organization, store)) as lines:
        async for line in lines:
            waiting += line.encode() + b"\n"
            if len(waiting) >= PART_BYTES:
                for start in range(0, len(waiting), MOST_BYTES):
                    yield bytes(waiting[start : start + MOST_BYTES])
                waiting.clear()
    yield bytes(waiting)


async def _lines(
    database: "asyncpg.Pool[asyncpg.Record]", installation_id: str, organization: str, store: str | None
) -> AsyncGenerator[str]:
    async with (
        database.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),  # one moment for all of it
    ):
        # Row-level security: whatever is asked for, no other organization's and no other installation's rows.
        await connection.execute(ENTER, *Scope(organization, ORGANIZATION_WIDE, installation_id).row())
        await connection.execute("SELECT set_config('TimeZone', 'UTC', true)")
        found = await repository.find(connection, installation_id, organization, store)
        if found is None:
            raise NothingRetained
        count = 0
        async with aclosing(_content(connection, found)) as content:
            async for line in content:
                count += 1
                yield line
        yield _line(type="end", lines=count)


async def _content(connection: asyncpg.Connection, found: dict[str, Any]) -> AsyncGenerator[str]:
    installation_id, plugin_id = found["installation_id"], found["plugin_id"]
    yield _line(
        type="archive",
        format=FORMAT,
        installationId=installation_id,
        organizationId=found["organization_id"],
        storeId=found["store_id"],
        pluginId=plugin_id,
        version=found["version"],
        uninstalledAt=found["retained_at"],
    )
    for name in await repository.table_names(connection, plugin_id):
        definition = await connection.fetchval(_DEFINITION, plugin_id, name)
        yield _line(type="table", name=name, definition=msgspec.Raw(definition.encode()))
        async for row in connection.cursor(_rows(plugin_id, name), installation_id, name, prefetch=PREFETCH):
            yield row["line"]
    async for row in connection.cursor(_VALUES, installation_id, prefetch=PREFETCH):
        yield row["line"]
    details = msgspec.json.decode(found["details"])
    for webhook in details["webhooks"]:
        yield _line(type="webhook", **webhook)
    for schedule in details["schedules"]:
        yield _line(type="schedule", **schedule)


def _rows(plugin_id: str, name: str) -> str:
    """PostgreSQL writes the JSON, so numbers keep every digit."""
    return f"""
        SELECT jsonb_build_object(
            'type', 'row', 'table', $2::text, 'row', to_jsonb(t) - 'installation_id'
        )::text AS line
        FROM {physical_name(plugin_id, name)} t WHERE t.installation_id = $1 ORDER BY t.created_at, t.id
    """  # noqa: S608


def _line(**members: Any) -> str:
    return msgspec.json.encode(members).decode()
