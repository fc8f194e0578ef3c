"""What a ticket earns: a pure function of the sale document and the rate."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any


class UnreadableSale(ValueError):
    """A sale document without something the award needs; the message names the member."""


def points_for(sale: Mapping[str, Any], points_per_dollar: Decimal) -> int:
    """Whole points for a ticket: negative when it gives goods back, 0 when it is not completed or has no customer.

    Counted is the net amount of the merchandise lines: after discounts, without tax, without gift cards sold. The
    product with the rate is rounded towards zero once per ticket, so that a refund never takes more than was given.

    Raises :class:`UnreadableSale`.
    """
    if sale.get("status") != "completed" or not sale.get("customerId"):
        return 0
    lines = sale.get("lines")
    if not isinstance(lines, list):
        raise UnreadableSale("sale.lines must be a list")
    net = sum((_net(line, number) for number, line in enumerate(lines)), Decimal(0))
    return int((net * points_per_dollar).to_integral_value(ROUND_DOWN))


def _net(line: Any, number: int) -> Decimal:
    member = f"sale.lines[{number}]"
    if not isinstance(line, Mapping):
        raise UnreadableSale(f"{member} must be an object")
    if line.get("kind", "merchandise") != "merchandise":
        return Decimal(0)
    amount = line.get("netAmount")
    net = _decimal(amount)
    if net is None:
        raise UnreadableSale(f"{member}.netAmount must be a decimal string, not {amount!r}")
    return net


def _decimal(amount: Any) -> Decimal | None:
    # A float has lost the amount already; a JSON number arrives as int or Decimal.
    if not isinstance(amount, str | int | Decimal) or isinstance(amount, bool):
        return None
    try:
        value = Decimal(amount)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
