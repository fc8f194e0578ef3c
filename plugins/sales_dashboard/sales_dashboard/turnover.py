"""Turnover in the plugin's own table: one row for each hour of an employee in a store, by currency.

It holds ids and sums: nothing that tells who somebody is, and nothing of customers at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from outlet import Api, column

HOURS = "hours"
GROUPS = ("hour", "day", "store", "employee")


class UnreadableSale(ValueError):
    """A completed sale without something that is counted; the message names the member."""


@dataclass(frozen=True)
class Turnover:
    """What one ticket adds: ``net`` is negative for a refund. ``hour`` is the beginning of the hour, in UTC."""

    store: str
    employee: str
    currency: str
    hour: datetime
    net: Decimal
    refund: bool


async def create_table(api: Api) -> None:
    """Make the table; an existing one stays as it is."""
    await api.create_table(
        HOURS,
        {
            "store": column.text(),
            "employee": column.text(),
            "currency": column.text(),
            "hour": column.timestamp(),
            "day": column.text(),
            "sales": column.integer(default=0),
            "refunds": column.integer(default=0),
            "net": column.decimal(default=0),
        },
        unique=[["store", "employee", "currency", "hour"]],
        indexes=[["day"]],
    )


def turnover_of(sale: Mapping[str, Any], store: str, published: datetime) -> Turnover | None:
    """What a ticket adds, None when it was not completed. Raises :class:`UnreadableSale`.

    It counts in the hour in which it was completed, or published where it does not say.
    """
    if sale.get("status") != "completed":
        return None
    totals = sale.get("totals")
    net = totals.get("net") if isinstance(totals, Mapping) else None
    moment = _moment(sale.get("completedAt")) or published
    return Turnover(
        store=store,
        employee=str(sale.get("cashierId") or ""),
        currency=str(sale.get("currency") or ""),
        hour=moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        net=_amount(net),
        refund=bool(sale.get("refundOf")),
    )


async def add(api: Api, turnover: Turnover) -> None:
    """Add a ticket to its hour, in one atomic step."""
    key = {name: getattr(turnover, name) for name in ("store", "employee", "currency", "hour")}
    counted = "refunds" if turnover.refund else "sales"
    await api.table(HOURS).upsert(
        key, {"day": turnover.hour.date().isoformat()}, increment={counted: 1, "net": turnover.net}
    )


async def summed(api: Api, by: str, first: date, last: date, store: str | None) -> list[dict[str, Any]]:
    """Sums by one of :data:`GROUPS` and currency from ``first`` to ``last``, in order; of all stores, or of one."""
    where: dict[str, Any] = {"day": {"gte": first.isoformat(), "lte": last.isoformat()}}
    if store is not None:
        where["store"] = store
    rows = await api.table(HOURS).aggregate([by, "currency"], sum=["sales", "refunds", "net"], where=where)
    return [
        {
            by: row[by].isoformat() if isinstance(row[by], datetime) else row[by],
            "currency": row["currency"],
            "sales": int(row["sum_sales"]),
            "refunds": int(row["sum_refunds"]),
            "net": str(row["sum_net"]),
        }
        for row in sorted(rows, key=lambda row: (row[by], row["currency"]))
    ]


def _amount(net: Any) -> Decimal:
    if isinstance(net, str | int | Decimal) and not isinstance(net, bool):
        try:
            amount = Decimal(net)
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_finite():
            return amount
    raise UnreadableSale(f"sale.totals.net must be a decimal string, not {net!r}")


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnreadableSale(f"sale.completedAt must be an RFC 3339 time, not {text!r}")
    return moment
