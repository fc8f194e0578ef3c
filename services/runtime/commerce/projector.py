"""Keeps the replica of the stores' sales, products, customers, employees and stores, which plugins may query."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import asyncpg
import msgspec

from services.common.events import DomainEvent, MalformedEvent
from services.common.topics import entity_of
from services.runtime.isolation import act_as_platform

_UPSERT = """
INSERT INTO "{table}" AS known (organization_id, store_id, id, data, occurred_at)
VALUES ($1, $2, $3, $4::jsonb, $5)
ON CONFLICT (organization_id, store_id, id) DO UPDATE SET data = excluded.data, occurred_at = excluded.occurred_at
WHERE excluded.occurred_at >= known.occurred_at
"""

Row = tuple[str, str, str, str | None, datetime]


class _Identified(msgspec.Struct):
    id: str


class Change(msgspec.Struct, frozen=True):
    """One row to write, decided from one event."""

    table: str
    row: Row


def read_change(event: DomainEvent) -> Change | None:
    """What ``event`` changes in the replica; None for an event that is not about an entity.

    Raises :class:`MalformedEvent` when the payload is not the JSON of an entity with an id.
    """
    entity = entity_of(event.type)
    if entity is None:
        return None
    try:
        entity_id = msgspec.json.decode(event.data, type=_Identified).id
        text = event.data.decode()
        occurred_at = datetime.fromisoformat(event.time)
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedEvent(f"{event.type} is no readable entity: {error}") from error
    if not entity_id or "\\u0000" in text:
        raise MalformedEvent(f"{event.type} needs a non-empty id, and no NUL characters")
    if occurred_at.tzinfo is None:
        raise MalformedEvent("header ce_time needs a time zone (RFC 3339)")
    gone = event.type.endswith(".deleted")
    return Change(entity, (event.organization, event.store, entity_id, None if gone else text, occurred_at))


async def apply(connection: asyncpg.Connection, changes: Iterable[Change]) -> None:
    """Write changes; repeated or late ones change nothing, because a row never goes back in time."""
    by_table: dict[str, list[Row]] = defaultdict(list)
    for change in changes:
        by_table[change.table].append(change.row)
    async with connection.transaction():
        await act_as_platform(connection)
        # One order of tables and rows everywhere: two workers that apply batches at once cannot deadlock.
        for table in sorted(by_table):
            await connection.executemany(_UPSERT.format(table=table), sorted(by_table[table], key=lambda row: row[:3]))
