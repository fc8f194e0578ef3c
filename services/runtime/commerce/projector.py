"""Keeps the replica of the stores' sales, products, customers, employees and stores, which plugins may query."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import asyncpg
import msgspec

from services.common.events import TEXT_LIMIT, DomainEvent, MalformedEvent, holds_nul
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
        id_bytes = len(entity_id.encode())
        text = event.data.decode()
        occurred_at = _in_utc(datetime.fromisoformat(event.time.upper()))  # RFC 3339 allows t and z
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedEvent(f"{event.type} is no readable entity: {error}") from error
    if not entity_id or holds_nul(event.data):
        raise MalformedEvent(f"{event.type} needs a non-empty id, and no NUL characters")
    if id_bytes > TEXT_LIMIT:
        raise MalformedEvent(f"the id of a {entity} has at most {TEXT_LIMIT} bytes")
    gone = event.type.endswith(".deleted")
    return Change(entity, (event.organization, event.store, entity_id, None if gone else text, occurred_at))


def _in_utc(moment: datetime) -> datetime:
    """Raises ValueError without a time zone, OverflowError for a time that leaves the calendar in UTC."""
    if moment.tzinfo is None:
        raise ValueError("header ce_time needs a time zone (RFC 3339)")
    return moment.astimezone(UTC)


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
