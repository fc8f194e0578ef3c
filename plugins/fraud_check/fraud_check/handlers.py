"""What the plugin does when: a large sale is made, somebody at a till asks about it."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from outlet import Api, Event, Plugin, Problem, Request

from . import verdicts
from .service import SaleRefused, assess

plugin = Plugin()


@plugin.on_install
async def prepare(api: Api) -> None:
    """Make the table of verdicts."""
    await verdicts.create_table(api)


# A till waits for the verdict, and an outage of the service is rarely over at once: few attempts, the first soon.
@plugin.hook("sale.created", attempts=5, first_pause=2, longest_pause=60)
async def check(api: Api, event: Event) -> None:
    """Ask about a completed sale above the limit, and keep the verdict; a flagged sale is told to the screens."""
    sale = event.data
    total = total_of(sale)
    if total is None or total <= Decimal(str(api.get_config("limit", 100))):
        return
    # The request goes first: a transaction that has begun would stay open while the service thinks.
    try:
        assessment = await assess(api, event.store, sale, total)
    except SaleRefused as refused:
        api.log("error", "the fraud service does not judge a sale", sale=sale["id"], reason=str(refused))
        await verdicts.keep_refusal(api, event.store, sale["id"], str(refused), event.time)
        return
    flagged = assessment.score >= api.get_config("flagFrom", 70)
    await verdicts.keep(api, event.store, sale["id"], "flagged" if flagged else "clear", assessment, event.time)
    if flagged:
        await api.emit("flagged", {"saleId": sale["id"], "score": assessment.score})


@plugin.route("GET", "/verdicts/{sale_id}")
async def read_verdict(api: Api, request: Request) -> dict[str, Any]:
    """The verdict about a sale of the caller's store; who is of no store says which: ``?store=``."""
    store = request.caller.store or request.query.get("store")
    if not store:
        raise Problem(400, "store_missing", "Say which store the sale is of: ?store=.")
    sale = request.params["sale_id"]
    row = await verdicts.of_sale(api, store, sale)
    if row is None:
        raise Problem(404, "no_verdict", "The sale was not asked about, or the fraud service has not answered yet.")
    return {
        "saleId": sale,
        "storeId": store,
        "verdict": row["verdict"],
        "score": None if row["score"] is None else str(row["score"]),
        "reference": row["reference"],
        "reason": row["reason"],
        "at": row["at"].isoformat(),
    }


def total_of(sale: Mapping[str, Any]) -> Decimal | None:
    """What was paid; None for a sale that was not completed. Raises ValueError for one without a readable total."""
    if sale.get("status") != "completed":
        return None
    totals = sale.get("totals")
    total = totals.get("total") if isinstance(totals, Mapping) else None
    if isinstance(total, str | int | Decimal) and not isinstance(total, bool):
        try:
            amount = Decimal(total)
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_finite():
            return amount
    raise ValueError(f"sale.totals.total must be a decimal string, not {total!r}")
