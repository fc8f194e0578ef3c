import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.common.events import DomainEvent, MalformedEvent
from services.runtime.commerce.projector import apply, read_change

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def event(kind: str, data: dict[str, Any], *, minutes: int = 0, store: str = "s1") -> DomainEvent:
    time = (NOON + timedelta(minutes=minutes)).isoformat()
    return DomainEvent("e", kind, "urn:pos", time, "acme", store, json.dumps(data).encode())


async def project(pool: "asyncpg.Pool[asyncpg.Record]", *events: DomainEvent) -> None:
    changes = [change for one in events if (change := read_change(one)) is not None]
    async with pool.acquire() as connection:
        await apply(connection, changes)


async def name_of(pool: "asyncpg.Pool[asyncpg.Record]", product: str) -> str | None:
    name: str | None = await pool.fetchval("SELECT data->>'name' FROM product WHERE id = $1", product)
    return name


async def test_the_replica_holds_the_newest_state_whatever_the_order_of_delivery(
    platform_pool: "asyncpg.Pool[asyncpg.Record]",
) -> None:
    created = event("product.created", {"id": "p", "name": "Tea"})
    renamed = event("product.updated", {"id": "p", "name": "Green tea"}, minutes=1)
    await project(platform_pool, created, renamed)
    await project(platform_pool, created)
    assert await name_of(platform_pool, "p") == "Green tea"


async def test_a_late_update_does_not_bring_back_what_was_deleted(
    platform_pool: "asyncpg.Pool[asyncpg.Record]",
) -> None:
    await project(platform_pool, event("product.deleted", {"id": "p"}, minutes=5))
    await project(platform_pool, event("product.updated", {"id": "p", "name": "Tea"}, minutes=1))
    assert await name_of(platform_pool, "p") is None


async def test_stores_keep_entities_of_the_same_id_apart(platform_pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await project(
        platform_pool, *(event("sale.created", {"id": "1", "n": store}, store=store) for store in ("s1", "s2"))
    )
    assert await platform_pool.fetchval("SELECT count(*) FROM sale") == 2


@pytest.mark.parametrize(
    ("data", "time"),
    [
        (b"not json", NOON.isoformat()),
        (b"[1, 2]", NOON.isoformat()),
        (b'{"id": ""}', NOON.isoformat()),
        (b'{"id": 7}', NOON.isoformat()),
        (b'{"name": "no id"}', NOON.isoformat()),
        (b'{"id": "1", "note": "a\\u0000b"}', NOON.isoformat()),
        (b'{"id": "1"}', "yesterday"),
        (b'{"id": "1"}', "2026-11-01T12:00:00"),
        (b'{"id": "1", "bad": "\xff"}', NOON.isoformat()),
        (b'{"id": "\\ud800"}', NOON.isoformat()),
        (b'{"id": "' + b"x" * 513 + b'"}', NOON.isoformat()),
        (b'{"id": "1", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", NOON.isoformat()),
        (b'{"id": "1"}', "0001-01-01T00:00:00+14:00"),
        (b'{"id": "1"}', "9999-12-31T23:59:59-14:00"),
    ],
)
def test_what_cannot_be_an_entity_is_refused(data: bytes, time: str) -> None:
    with pytest.raises(MalformedEvent):
        read_change(DomainEvent("e", "sale.created", "urn:pos", time, "acme", "s1", data))


@pytest.mark.parametrize(
    ("data", "time"),
    [(rb'{"id": "1", "path": "c:\\u0000"}', NOON.isoformat()), (b'{"id": "1"}', "2026-11-01t12:00:00z")],
)
def test_what_only_looks_unusual_is_taken(data: bytes, time: str) -> None:
    assert read_change(DomainEvent("e", "sale.created", "urn:pos", time, "acme", "s1", data)) is not None


def test_other_events_change_nothing() -> None:
    assert read_change(event("shift.opened", {})) is None
    assert read_change(event("sale.exploded", {})) is None
