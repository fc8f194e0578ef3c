"""The plugin's own table: one row for each store and day."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from outlet import Api, column

TOTALS = "totals"


async def create(api: Api) -> None:
    """Make the table."""
    columns = {"store": column.text(), "day": column.text(), "total": column.decimal(default=0)}
    await api.create_table(TOTALS, columns, unique=[["store", "day"]])


async def add(api: Api, store: str, day: date, amount: Decimal) -> Decimal:
    """Add to a store's day, and return its total."""
    key = {"store": store, "day": day.isoformat()}
    row = await api.table(TOTALS).upsert(key, increment={"total": amount})
    return Decimal(row["total"])


async def of_day(api: Api, day: date) -> list[Mapping[str, Any]]:
    """The rows of a day."""
    return list(await api.table(TOTALS).find({"day": day.isoformat()}, sort=["store"], limit=1000))
