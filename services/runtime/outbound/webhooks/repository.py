"""An installation's webhooks and its delivery log. Row-level security holds each statement to the installation."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from services.runtime.outbound.webhooks.signing import new_secret

MOST_WEBHOOKS = 100
OVERLAP = timedelta(hours=24)
"""How long the previous secret signs along after a rotation."""

_COUNT = "SELECT count(*) FROM webhook WHERE installation_id = $1 AND (event, url) <> ($2, $3)"
_REGISTER = """
INSERT INTO webhook (id, installation_id, event, url, secret) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (installation_id, event, url) DO UPDATE
SET failures = 0, gone = 0, failing_since = NULL, paused_until = NULL, disabled_at = NULL, disabled_reason = NULL
RETURNING id, event, url, secret
"""
_LIST = """
SELECT id, event, url, created_at, failing_since, disabled_at, disabled_reason
FROM webhook WHERE installation_id = $1 ORDER BY created_at, id
"""
_REMOVE = "DELETE FROM webhook WHERE installation_id = $1 AND id = $2"
_ROTATE = """
UPDATE webhook SET previous_secret = secret, previous_until = now() + $4, secret = $3
WHERE installation_id = $1 AND id = $2 RETURNING id, event, url, secret
"""
_DELIVERIES = """
SELECT id, event, event_id, status, attempts, response_code, response_excerpt, error, created_at, finished_at,
       CASE WHEN status = 'pending' THEN due_at END AS next_attempt_at
FROM webhook_delivery WHERE installation_id = $1 AND webhook_id = $2 AND ($3::timestamptz IS NULL OR created_at < $3)
ORDER BY created_at DESC, id LIMIT $4
"""
_FORGET = "DELETE FROM webhook WHERE installation_id = $1"


class TooManyWebhooks(Exception):
    """The installation has all the webhooks that it may have."""


async def register(connection: asyncpg.Connection, installation_id: str, event: str, url: str) -> dict[str, Any]:
    """Register a webhook, or find the one that is registered and enable it again. Raises TooManyWebhooks."""
    if await connection.fetchval(_COUNT, installation_id, event, url) >= MOST_WEBHOOKS:
        raise TooManyWebhooks
    return dict(await connection.fetchrow(_REGISTER, f"wh_{uuid4().hex}", installation_id, event, url, new_secret()))


async def listed(connection: asyncpg.Connection, installation_id: str) -> list[dict[str, Any]]:
    """The installation's webhooks, without their secrets."""
    return [dict(row) for row in await connection.fetch(_LIST, installation_id)]


async def remove(connection: asyncpg.Connection, installation_id: str, webhook_id: str) -> bool:
    """Remove a webhook with its deliveries; whether there was one."""
    return bool(await connection.execute(_REMOVE, installation_id, webhook_id) == "DELETE 1")


async def rotate(connection: asyncpg.Connection, installation_id: str, webhook_id: str) -> dict[str, Any] | None:
    """Give a webhook a new secret; the one before signs along for a day. None when there is no such webhook."""
    row = await connection.fetchrow(_ROTATE, installation_id, webhook_id, new_secret(), OVERLAP)
    return None if row is None else dict(row)


async def deliveries(
    connection: asyncpg.Connection, installation_id: str, webhook_id: str, before: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """The delivery log of a webhook, newest first."""
    rows = await connection.fetch(_DELIVERIES, installation_id, webhook_id, before, limit)
    return [dict(row) for row in rows]


async def forget(connection: asyncpg.Connection, installation_id: str) -> None:
    """Remove everything of an installation that is uninstalled."""
    await connection.execute(_FORGET, installation_id)
