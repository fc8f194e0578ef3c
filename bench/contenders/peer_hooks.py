"""What the peers do with an event, in their own process: what the plugins do with it on Outlet.

The award is the loyalty plugin's own rule, kept as one transaction per event with SQLModel, and made once however often
the event comes by an inbox row in that transaction. It does less than Outlet does: no replica of the sale is kept, no
event is emitted, and nobody's rows are kept from anybody.
"""

import importlib
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from bench.contenders.task import Task
from services.common.database import sqlalchemy_url

ROOT = Path(__file__).parents[2]
NO_OP = ROOT / "bench" / "plugin"
LOYALTY = ROOT / "plugins" / "loyalty_points"

Hook: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class PeerModel(SQLModel, registry=registry()):
    """Keeps the peers' tables apart from those of the services."""


class Inbox(PeerModel, table=True):
    """An event whose effects are committed."""

    event_id: str = Field(primary_key=True)


class Account(PeerModel, table=True):
    customer_id: str = Field(primary_key=True)
    points: int


class Movement(PeerModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    customer_id: str = Field(index=True)
    kind: str
    points: int
    sale_id: str
    at: datetime = Field(sa_type=DateTime(timezone=True))


def hook_of(task: Task) -> Hook:
    """The function that is called with each event's payload."""
    if task.workload == "no-op":
        return _no_op()
    return Awards(task.dsn, task.concurrency).give


async def create_tables(dsn: str) -> None:
    """Make the tables of the award in an empty database."""
    engine = create_async_engine(sqlalchemy_url(dsn))
    async with engine.begin() as connection:
        await connection.run_sync(PeerModel.metadata.create_all)
    await engine.dispose()


class Awards:
    """Gives the points that sales earn."""

    def __init__(self, dsn: str, connections: int) -> None:
        # A connection for each event that is handled at once, kept open; statements are prepared once by asyncpg.
        engine = create_async_engine(sqlalchemy_url(dsn), pool_size=connections, max_overflow=0)
        self._sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
        sys.path.insert(0, str(LOYALTY))
        self._points_for = importlib.import_module("loyalty_points.earning").points_for

    async def give(self, sale: dict[str, Any]) -> None:
        """Award once. A sale that earns nothing costs no transaction, as on Outlet."""
        points = self._points_for(sale, Decimal(1))
        if points == 0:
            return
        customer = sale["customerId"]
        async with self._sessions.begin() as session:
            entered = await session.exec(insert(Inbox).values(event_id=sale["id"]).on_conflict_do_nothing())
            if entered.rowcount == 0:
                return
            account = insert(Account).values(customer_id=customer, points=points)
            added = {"points": Account.__table__.c.points + account.excluded.points}  # type: ignore[attr-defined]
            await session.exec(account.on_conflict_do_update(index_elements=["customer_id"], set_=added))
            kind, at = "earned" if points > 0 else "reversed", datetime.fromisoformat(sale["createdAt"])
            session.add(Movement(customer_id=customer, kind=kind, points=points, sale_id=sale["id"], at=at))


def _no_op() -> Hook:
    sys.path.insert(0, str(NO_OP))
    ignore = importlib.import_module("bench_plugin").ignore

    async def hook(document: dict[str, Any]) -> None:
        await ignore(None, document)

    return hook
