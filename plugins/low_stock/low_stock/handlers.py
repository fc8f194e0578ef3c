"""What the plugin does when: each morning it looks, in the meantime it sees what is back, and somebody asks."""

from datetime import UTC, datetime
from typing import Any

from outlet import Api, ApiError, Event, Plugin, Problem, Request

from . import alerts
from .settings import QuietHours, Thresholds
from .stock import each_page, level_of, low_products

plugin = Plugin()


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@plugin.on_install
async def prepare(api: Api) -> None:
    """Make the table of what was told."""
    await alerts.create_table(api)


@plugin.schedule("0 6 * * *")
async def look(api: Api) -> None:
    """Find what is low, and tell what is new of it: at once, or when the quiet hours are over."""
    low: set[alerts.Key] = set()
    new = 0
    async for levels in each_page(api, Thresholds.of(api)):
        new += await alerts.add_new(api, levels)
        low |= {(level.product, level.store) for level in levels}
    await alerts.forget_others(api, low)
    api.log("info", f"{len(low)} products are low, {new} of them newly")
    # Looking twice in one night makes one job; the job itself, should it still be too early, makes another.
    await _tell(api, one_job=True)


@plugin.job("tell")
async def tell(api: Api) -> None:
    """The quiet hours are over, unless the organization has changed them meanwhile."""
    await _tell(api, one_job=False)


async def _tell(api: Api, *, one_job: bool) -> None:
    """Tell what is not told yet, unless these are quiet hours: then later."""
    users = api.get_config("tell", [])
    if not users:
        api.log("warning", "nobody is told what is low: the setting 'tell' is empty")
        return
    # Both may run late: the clock decides, not the plan.
    moment = now()
    over = QuietHours.of(api).over(moment)
    if over > moment:
        await api.enqueue("tell", delay=over, key=over.isoformat() if one_job else None)
    else:
        await alerts.tell(api, users)


@plugin.hook("product.updated")
async def see_stock(api: Api, event: Event) -> None:
    """A product whose stock is back is told again when it runs out again."""
    level = level_of(event.data, Thresholds.of(api), event.store)
    if level is None or not level.low:
        await alerts.forget(api, event.data["id"], event.data.get("storeId") or event.store)


@plugin.hook("product.deleted")
async def forget_product(api: Api, event: Event) -> None:
    """What is not sold any more is not low."""
    await alerts.forget(api, event.data["id"], event.data.get("storeId") or event.store)


@plugin.route("GET", "/low")
async def list_low(api: Api, request: Request) -> dict[str, Any]:
    """What is low now, in the caller's store or in all: pass ``cursor`` of the answer for the next page."""
    try:
        levels, cursor = await low_products(
            api, Thresholds.of(api), request.caller.store, request.query.get("cursor") or None
        )
    except ApiError as error:
        if error.code != "invalid_cursor":
            raise
        raise Problem(400, "invalid_cursor", "The cursor is none that this list has given: begin without.") from error
    products = [
        {
            "id": level.product,
            "storeId": level.store,
            "name": level.name,
            "category": level.category,
            "stock": str(level.stock),
            "threshold": level.threshold,
        }
        for level in levels
    ]
    return {"products": products, "cursor": cursor}
