"""What was told: one row for each product that is low, until its stock is back.

The row is what keeps a product from being told twice; ``told`` is false while its message waits for the end of the
quiet hours.
"""

from collections.abc import Sequence
from typing import Any

from outlet import Api, column

from .stock import Level

ALERTS = "alerts"
LONGEST_MESSAGE = 2_000
"""Of a notice; names may be long."""
Key = tuple[str, str]
NAMED = 5
"""So many products are named in a message: those of which least is left."""


async def create_table(api: Api) -> None:
    """Make the table; an existing one stays as it is."""
    await api.create_table(
        ALERTS,
        {
            "product": column.text(),
            "store": column.text(),
            "name": column.text(),
            "stock": column.decimal(),
            "told": column.boolean(default=False),
        },
        unique=[["product", "store"]],
        indexes=[["told"]],
    )


async def add_new(api: Api, levels: Sequence[Level]) -> int:
    """Remember those products that are not known to be low already; how many they are."""
    if not levels:
        return 0
    where = {"product": {"in": [level.product for level in levels]}}
    known = {_key(row) for row in await _all(api, where)}
    new = [level for level in levels if (level.product, level.store) not in known]
    for level in new:
        await api.table(ALERTS).create(
            {"product": level.product, "store": level.store, "name": level.name, "stock": level.stock}
        )
    return len(new)


async def forget(api: Api, product: str, store: str) -> None:
    """The stock is back: when it runs out again, that is told again."""
    await api.table(ALERTS).delete({"product": product, "store": store})


async def forget_others(api: Api, low: set[Key]) -> None:
    """Forget all but these, such as what a changed threshold does not call low any more."""
    for row in await _all(api):
        if _key(row) not in low:
            await forget(api, row["product"], row["store"])


async def tell(api: Api, users: Sequence[str]) -> int:
    """Tell everybody what they have not been told; how many products that were."""
    news = sorted(await _all(api, {"told": False}), key=lambda row: (row["stock"], row["name"], row["store"]))
    if not news:
        return 0
    title = "1 product is running out" if len(news) == 1 else f"{len(news)} products are running out"
    named = [f"{row['name']}: {row['stock'].normalize():f} left in {row['store']}" for row in news[:NAMED]]
    more = [f"and {len(news) - NAMED} more"] if len(news) > NAMED else []
    message = "; ".join(named + more)[:LONGEST_MESSAGE]
    for user in users:
        await api.notify(user, title=title, message=message, type="warning")
    await api.table(ALERTS).update({"told": False}, {"told": True})
    return len(news)


async def _all(api: Api, where: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows by their id, however many there are."""
    found: list[dict[str, Any]] = []
    page: list[dict[str, Any]] = []
    while True:
        after = {"id": {"gt": page[-1]["id"]}} if page else {}
        page = await api.table(ALERTS).find({**(where or {}), **after}, sort=["id"], limit=1_000)
        found += page
        if len(page) < 1_000:
            return found


def _key(row: dict[str, Any]) -> Key:
    return row["product"], row["store"]
