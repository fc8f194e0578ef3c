"""Statements on the key-value data of installations. An entry whose time has come is gone at once, and swept later."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS
from services.runtime.isolation import act_as_platform
from services.runtime.plugin_api.documents import decode_document
from services.runtime.plugin_api.errors import ApiRefusal

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 30.0
SWEEP_BATCH = 1_000

_LIVE = "(expires_at IS NULL OR expires_at > statement_timestamp())"
_KNOWN_LIVE = "(known.expires_at IS NULL OR known.expires_at > statement_timestamp())"
# A new key counts, one that exists does not: only then is it worth counting.
_ROOM = """
CASE WHEN EXISTS (SELECT FROM plugin_value WHERE installation_id = $1 AND key = $2) THEN TRUE
     ELSE (SELECT count(*) FROM plugin_value WHERE installation_id = $1) < $5 END
"""
_GET = f"SELECT value FROM plugin_value WHERE installation_id = $1 AND key = $2 AND {_LIVE}"  # noqa: S608
_SET = f"""
INSERT INTO plugin_value (installation_id, key, value, expires_at)
SELECT $1::text, $2::text, $3::jsonb, statement_timestamp() + $4::interval WHERE {_ROOM}
ON CONFLICT (installation_id, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
RETURNING TRUE
"""
_INCREMENT = f"""
INSERT INTO plugin_value AS known (installation_id, key, value, expires_at)
SELECT $1::text, $2::text, to_jsonb($3::numeric), statement_timestamp() + $4::interval WHERE {_ROOM}
ON CONFLICT (installation_id, key) DO UPDATE SET
    value = CASE WHEN {_KNOWN_LIVE} THEN to_jsonb(known.value::numeric + $3) ELSE excluded.value END,
    expires_at = CASE WHEN {_KNOWN_LIVE} THEN known.expires_at ELSE excluded.expires_at END
WHERE jsonb_typeof(known.value) = 'number' OR NOT {_KNOWN_LIVE}
RETURNING value
"""
_DELETE = f"DELETE FROM plugin_value WHERE installation_id = $1 AND key = $2 RETURNING {_LIVE}"  # noqa: S608
_LIST = f"""
SELECT key, value FROM plugin_value
WHERE installation_id = $1 AND key >= $2 AND starts_with(key, $2) AND key > $3 AND {_LIVE}
ORDER BY key LIMIT $4
"""  # noqa: S608
_DROP_EXPIRED = f"DELETE FROM plugin_value WHERE installation_id = $1 AND NOT {_LIVE}"  # noqa: S608
_SWEEP = """
DELETE FROM plugin_value WHERE (installation_id, key) IN (
    SELECT installation_id, key FROM plugin_value WHERE expires_at <= statement_timestamp()
    LIMIT $1 FOR UPDATE SKIP LOCKED
) AND expires_at <= statement_timestamp()
"""


@dataclass(frozen=True, slots=True)
class KeyValueStore:
    """The entries of one installation, of which there are at most ``max_keys`` (a few more when many come at once)."""

    connection: asyncpg.Connection
    installation_id: str
    max_keys: int

    async def get(self, key: str) -> list[Any]:
        """The value in a list of one, or an empty list."""
        text = await self.connection.fetchval(_GET, self.installation_id, key)
        return [] if text is None else [decode_document(text)]

    async def set(self, key: str, document: str, lifetime: timedelta | None) -> None:
        """Store JSON text, for ever or for ``lifetime``. Raises ApiRefusal ``too_many_keys``."""
        if await self._write(_SET, key, document, lifetime) is None:
            raise self._full()

    async def increment(self, key: str, by: Decimal, lifetime: timedelta | None) -> int | Decimal:
        """Add to a number in one statement; what is absent counts as 0 and then lives for ``lifetime``.

        Raises ApiRefusal ``not_a_number`` or ``too_many_keys``.
        """
        text = await self._write(_INCREMENT, key, by, lifetime)
        if text is None and await self.get(key):
            raise ApiRefusal("not_a_number", f"the value of {key!r:.80} is no number")
        if text is None:
            raise self._full()
        number: int | Decimal = decode_document(text)
        return number

    async def delete(self, key: str) -> bool:
        """Whether there was one."""
        return bool(await self.connection.fetchval(_DELETE, self.installation_id, key))

    async def list(self, prefix: str, after: str, limit: int, size: int) -> tuple[list[tuple[str, Any]], bool]:
        """Keys with ``prefix`` after the key ``after``, and their values, in the order of their code points.

        At most ``limit``, and no more than fit ``size`` bytes of JSON (but one at least); and whether there are more.
        """
        page: list[tuple[str, Any]] = []
        async for row in self.connection.cursor(_LIST, self.installation_id, prefix, after, limit + 1, prefetch=50):
            size -= len(row["value"].encode()) + len(row["key"].encode())
            if len(page) == limit or (page and size < 0):
                return page, True
            page.append((row["key"], decode_document(row["value"])))
        return page, False

    async def _write(self, statement: str, key: str, value: Any, lifetime: timedelta | None) -> Any:
        values = (self.installation_id, key, value, lifetime, self.max_keys)
        written = await self.connection.fetchval(statement, *values)
        if written is None and await self.connection.execute(_DROP_EXPIRED, self.installation_id) != "DELETE 0":
            written = await self.connection.fetchval(statement, *values)
        return written

    def _full(self) -> ApiRefusal:
        return ApiRefusal("too_many_keys", f"an installation has at most {self.max_keys} keys: delete some first")


async def forget_values(connection: asyncpg.Connection, installation_id: str) -> None:
    """Delete all entries of one installation."""
    await connection.execute("DELETE FROM plugin_value WHERE installation_id = $1", installation_id)


async def sweep(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    """Delete up to 1,000 entries whose time has come; how many there were. Several workers may do it at once."""
    async with pool.acquire() as connection, connection.transaction():
        await act_as_platform(connection)
        status = await connection.execute(_SWEEP, SWEEP_BATCH)
    return int(status.rpartition(" ")[2])


async def keep_sweeping(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Sweep every 30 s until cancelled; a database that is away delays."""
    while True:
        try:
            while await sweep(pool) == SWEEP_BATCH:
                pass
        except DATABASE_ERRORS as error:
            log.warning("expired data not swept, trying again", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)
