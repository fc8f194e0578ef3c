"""What the plugin does when: installed, a sale arrives, a till asks."""

from datetime import UTC, datetime
from typing import Any

from outlet import Api, Component, Event, Plugin, Problem, Request

from . import ledger
from .earning import points_for
from .redemption import read_redemption
from .settings import Settings, set_defaults

plugin = Plugin()


@plugin.on_install
async def prepare(api: Api) -> None:
    """Make the tables and write down the default settings."""
    await ledger.create_tables(api)
    await set_defaults(api)


@plugin.hook("sale.created")
async def award(api: Api, event: Event) -> None:
    """Give the points a completed sale earns; take back those of returned goods."""
    sale = event.data
    points = points_for(sale, Settings.of(api).points_per_dollar)
    if points == 0:
        return
    customer = sale["customerId"]
    balance = await ledger.post_sale(api, customer, points, sale=sale["id"], at=event.time)
    await api.emit(
        "points-earned" if points > 0 else "points-reversed",
        {"customerId": customer, "points": points, "balance": balance, "saleId": sale["id"]},
    )


@plugin.route("GET", "/points/{customer_id}")
async def read_points(api: Api, request: Request) -> dict[str, Any]:
    """The customer's balance, its value in currency, and the last movements."""
    customer = request.params["customer_id"]
    points = await ledger.balance(api, customer)
    return {
        "customerId": customer,
        "points": points,
        "value": Settings.of(api).value_of(points),
        "transactions": [
            {
                "kind": row["kind"],
                "points": row["points"],
                "saleId": row["sale_id"],
                "reference": row["reference"],
                "at": row["at"].isoformat(),
            }
            for row in await ledger.recent(api, customer)
        ],
    }


@plugin.route("POST", "/points/{customer_id}/redeem")
async def redeem_points(api: Api, request: Request) -> dict[str, Any]:
    """Pay with points. Repeating a request with the same reference takes nothing more and answers the same."""
    customer = request.params["customer_id"]
    wanted = read_redemption(request)
    answer = {"customerId": customer, "redeemed": wanted.points, "value": Settings.of(api).value_of(wanted.points)}
    if wanted.reference is not None:
        earlier = await ledger.earlier_redemption(api, customer, wanted.reference)
        if earlier == wanted.points:
            return {**answer, "points": await ledger.balance(api, customer)}
        if earlier is not None:
            raise Problem(409, "reference_used", f"{earlier} points were redeemed under this reference already.")
    points = await ledger.redeem(api, customer, wanted.points, reference=wanted.reference, at=datetime.now(UTC))
    await api.emit("points-redeemed", {"customerId": customer, "points": wanted.points, "balance": points})
    return {**answer, "points": points}


@plugin.component("POS.AfterCheckout", priority=10)
def points_earned() -> Component:
    """Tells the customer at the till what this sale brought."""
    return Component(title="Points earned", route="/points/{customer_id}")


@plugin.component("Customer.Profile", priority=10)
def points_balance() -> Component:
    """Shows a customer's points on their profile."""
    return Component(title="Loyalty points", route="/points/{customer_id}")
