"""Dead letters as tests need them: entries of the ledger that failed for good."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg

from services.common.directory import Installation
from services.common.events import DomainEvent
from services.common.topics import DEAD_LETTERS
from services.runtime.delivery.ledger import Failure, Ledger, NewEntry
from services.runtime.delivery.unit_of_work import InboxKey

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def letter(installation: Installation, **changes: Any) -> NewEntry:
    """A sale in store s1 that the installation's hook failed at noon; ``changes`` says otherwise."""
    facts: dict[str, Any] = {
        "event": "sale.created",
        "event_id": f"event-{next(_numbers)}",
        "store": "s1",
        "version": installation.version,
        "code": "plugin_raised",
        "message": "KeyError: 'customerId'",
        "at": NOON,
        "data": b'{"id":"1","total":19.10,"customer":{"name":"Ada"}}',
        "attempts": 3,
        "ordered": False,
        "key": b"acme/s1/1",
    } | changes
    event = DomainEvent(
        facts["event_id"],
        facts["event"],
        "urn:pos",
        "2026-11-01T11:59:00Z",
        installation.organization_id,
        facts["store"],
        facts["data"],
    )
    return NewEntry(
        key=InboxKey(installation.id, event.type, event.source, event.id),
        event=event,
        plugin_id=installation.plugin_id,
        version=facts["version"],
        record_key=facts["key"],
        position="outlet.events.sale/0/1",
        ordered=facts["ordered"],
        attempts=facts["attempts"],
        most_attempts=facts["attempts"],
        due_at=facts["at"],
        failure=Failure(code=facts["code"], message=facts["message"], stack="Traceback ...", at=facts["at"]),
        dead=True,
    )


async def published(pool: Pool) -> list[dict[str, str]]:
    """The dead letters that wait to be published, as their headers say of them, without ``outlet_``."""
    rows = await pool.fetch("SELECT headers FROM outbox WHERE topic = $1 ORDER BY id", DEAD_LETTERS.name)
    return [
        {name.removeprefix("outlet_"): content for name, content in json.loads(row["headers"]).items()} for row in rows
    ]


async def keep(pool: Pool, *letters: NewEntry) -> list[int]:
    """Put letters into the ledger; their ids, in this order."""
    await Ledger(pool, "tests").add(letters)
    ids = []
    for each in letters:
        query = "SELECT id FROM attempt_ledger WHERE installation_id = $1 AND event_id = $2"
        ids.append(await pool.fetchval(query, each.key.installation_id, each.key.id))
    return ids


async def states(pool: Pool) -> dict[int, str]:
    """What became of every entry, by its id."""
    return {row["id"]: row["state"] for row in await pool.fetch("SELECT id, state FROM attempt_ledger ORDER BY id")}
