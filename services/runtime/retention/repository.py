"""SQL of data that outlives its installation. Row-level security holds each statement to one organization.

A row of ``retained_data`` says what becomes of an installation's data: ``drop``, ``keep`` or ``export`` as it was asked
for, ``retained_at`` once the installation is gone and the data was left; ``adopted`` once a new installation has it.
"""

from typing import Any, Literal

import asyncpg
import msgspec

from services.common.directory import Installation
from services.runtime.plugin_api.definition import physical_name

Purpose = Literal["drop", "keep", "export"]

_ASK = """
INSERT INTO retained_data AS known (installation_id, organization_id, plugin_id, version, store_id, purpose, days)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (installation_id) DO UPDATE SET
    purpose = excluded.purpose, days = excluded.days, version = excluded.version,
    retained_at = CASE WHEN known.purpose <> 'adopted' THEN known.retained_at END
"""
_ASKED = "SELECT purpose FROM retained_data WHERE installation_id = $1 FOR UPDATE"
# What was left once is described once: what a repetition finds has been removed by the first.
_RETAIN = """
UPDATE retained_data SET
    details = CASE WHEN retained_at IS NULL THEN $2::text::jsonb ELSE details END,
    retained_at = coalesce(retained_at, now()), expires_at = now() + make_interval(days => days)
WHERE installation_id = $1
"""
_DETAILS = """
SELECT jsonb_build_object(
    'webhooks', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'event', event, 'url', url, 'createdAt', created_at, 'disabledReason', disabled_reason
    ) ORDER BY created_at, id), '[]') FROM webhook WHERE installation_id = $1),
    'schedules', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'schedule', schedule, 'plannedAt', planned_at, 'nextAt', next_at
    ) ORDER BY schedule), '[]') FROM schedule_clock WHERE installation_id = $1)
)::text
"""
# An adopted row is found again when the installation that adopted it never came to be: a store has one at most.
_TO_ADOPT = """
SELECT installation_id FROM retained_data
WHERE organization_id = $1 AND plugin_id = $2 AND store_id IS NOT DISTINCT FROM $3 AND installation_id <> $4
      AND (purpose = 'adopted' OR purpose = 'keep' AND retained_at IS NOT NULL) AND expires_at > now()
ORDER BY retained_at DESC LIMIT 1
"""
_ADOPT = """
UPDATE retained_data SET installation_id = $2, purpose = 'adopted', expires_at = now() + make_interval(days => days)
WHERE installation_id = $1
"""
_LIST = """
SELECT installation_id, plugin_id, version, store_id, purpose, retained_at, expires_at FROM retained_data
WHERE organization_id = $1 AND ($2::text IS NULL OR store_id = $2) AND purpose IN ('keep', 'export')
      AND retained_at IS NOT NULL AND expires_at > now()
ORDER BY retained_at DESC, installation_id LIMIT $3
"""
_FIND = """
SELECT installation_id, organization_id, plugin_id, version, store_id, details::text, retained_at FROM retained_data
WHERE installation_id = $1 AND organization_id = $2 AND ($3::text IS NULL OR store_id = $3)
      AND purpose IN ('keep', 'export') AND retained_at IS NOT NULL AND expires_at > now()
"""
_EXPIRED = """
SELECT installation_id, organization_id, plugin_id FROM retained_data
WHERE expires_at <= now() ORDER BY expires_at LIMIT $1
"""
_LOCK_EXPIRED = """
SELECT purpose FROM retained_data WHERE installation_id = $1 AND expires_at <= now() FOR UPDATE SKIP LOCKED
"""


async def ask(connection: asyncpg.Connection, installation: Installation, purpose: Purpose, days: int) -> None:
    """Say what is to become of an installation's data when it is uninstalled, and for how many days."""
    found = installation
    place = (found.id, found.organization_id, found.plugin_id, found.version, found.store_id)
    await connection.execute(_ASK, *place, purpose, days)


async def asked(connection: asyncpg.Connection, installation_id: str) -> Purpose:
    """What was asked for; ``drop`` when nothing was. Locked until the transaction ends."""
    found = await connection.fetchval(_ASKED, installation_id)
    return "drop" if found in (None, "adopted") else msgspec.convert(found, Purpose)


async def retain(connection: asyncpg.Connection, installation_id: str) -> None:
    """Leave the data for as long as was asked, with a description of webhooks (without secrets) and schedules."""
    await connection.execute(_RETAIN, installation_id, await connection.fetchval(_DETAILS, installation_id))


async def forget(connection: asyncpg.Connection, installation_id: str, *, adopted: bool = False) -> None:
    """Drop what is known of an installation's data; with ``adopted`` only that it was adopted."""
    condition = "AND purpose = 'adopted'" if adopted else ""
    await connection.execute(f"DELETE FROM retained_data WHERE installation_id = $1 {condition}", installation_id)  # noqa: S608


async def to_adopt(connection: asyncpg.Connection, installation: Installation, *, lock: bool = False) -> str | None:
    """The former installation in the same place whose data waits for this one."""
    found = installation
    place = (found.organization_id, found.plugin_id, found.store_id, found.id)
    former: str | None = await connection.fetchval(_TO_ADOPT + ("FOR UPDATE" if lock else ""), *place)
    return former


async def rebind(connection: asyncpg.Connection, plugin_id: str, former: str, present: str) -> None:
    """Give a former installation's rows to the present one. As the platform: both are touched."""
    await connection.execute("DELETE FROM retained_data WHERE installation_id = $1", present)
    await connection.execute(_ADOPT, former, present)
    tables = ["plugin_value", *(physical_name(plugin_id, name) for name in await table_names(connection, plugin_id))]
    for table in tables:
        await connection.execute(
            f"UPDATE {table} SET installation_id = $2 WHERE installation_id = $1",  # noqa: S608
            former,
            present,
        )


async def table_names(connection: asyncpg.Connection, plugin_id: str) -> list[str]:
    """The custom tables of a plugin."""
    rows = await connection.fetch("SELECT name FROM plugin_table WHERE plugin_id = $1 ORDER BY name", plugin_id)
    return [row["name"] for row in rows]


async def listed(
    connection: asyncpg.Connection, organization: str, store: str | None, limit: int
) -> list[dict[str, Any]]:
    """What an organization (or one store of it) has left, newest first."""
    return [dict(row) for row in await connection.fetch(_LIST, organization, store, limit)]


async def find(
    connection: asyncpg.Connection, installation_id: str, organization: str, store: str | None
) -> dict[str, Any] | None:
    """What was left by one installation."""
    row = await connection.fetchrow(_FIND, installation_id, organization, store)
    return None if row is None else dict(row)


async def expired(connection: asyncpg.Connection, limit: int) -> list[tuple[str, str, str]]:
    """Installation, organization and plugin of data whose time has come. As the platform."""
    return [tuple(row) for row in await connection.fetch(_EXPIRED, limit)]


async def lock_expired(connection: asyncpg.Connection, installation_id: str) -> str | None:
    """Its purpose; None when somebody else is at it or its time has not come any more."""
    purpose: str | None = await connection.fetchval(_LOCK_EXPIRED, installation_id)
    return purpose
