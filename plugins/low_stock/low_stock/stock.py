"""How much of each product is left, as the stores' systems have published it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from outlet import Api

from .settings import Thresholds

PAGE = 200


@dataclass(frozen=True)
class Level:
    """What is left of a product in a store, and the number below which that is low."""

    product: str
    store: str
    name: str
    category: str | None
    stock: Decimal
    threshold: int

    @property
    def low(self) -> bool:
        return self.stock < self.threshold


async def low_products(
    api: Api, thresholds: Thresholds, store: str | None = None, cursor: str | None = None
) -> tuple[list[Level], str | None]:
    """A page of products that are low, with what asks for the next page; all stores' unless ``store`` is given."""
    where: dict[str, Any] = {"stock": {"lt": thresholds.highest}}
    if store is not None:
        where["storeId"] = store
    page = await api.models.Product.find(where, sort=["id"], limit=PAGE, cursor=cursor)
    levels = (level_of(product, thresholds) for product in page)
    return [level for level in levels if level is not None and level.low], page.cursor


async def each_page(api: Api, thresholds: Thresholds) -> AsyncIterator[list[Level]]:
    """All that is low, page by page."""
    cursor = None
    while True:
        levels, cursor = await low_products(api, thresholds, cursor=cursor)
        yield levels
        if cursor is None:
            return


def level_of(product: Mapping[str, Any], thresholds: Thresholds, store: str | None = None) -> Level | None:
    """A product document's level; None when its stock is not kept. ``store``: where the document says none."""
    stock = _number(product.get("stock"))
    if stock is None:
        return None
    category = product.get("category")
    return Level(
        product=product["id"],
        store=product.get("storeId") or store or "",
        name=str(product.get("name") or product["id"]),
        category=category,
        stock=stock,
        threshold=thresholds.of_category(category),
    )


def _number(stock: Any) -> Decimal | None:
    if not isinstance(stock, str | int | Decimal) or isinstance(stock, bool):
        return None
    try:
        value = Decimal(stock)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
