"""The arithmetic of a ticket: every amount is rounded to the cent once, where it arises, and all sums are exact."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from outlet.samples.documents import Discount, Line, Product, Totals

_CENT = Decimal("0.01")


def money(amount: Decimal) -> str:
    """The amount rounded half up to the cent, as a decimal string."""
    return str(amount.quantize(_CENT, ROUND_HALF_UP))


def line(product: Product, quantity: Decimal, tax_rate: str, *, promotion: Decimal | None = None) -> Line:
    """A line for so much of a product. ``promotion`` is the fraction taken off (``Decimal("0.1")`` = 10 %)."""
    gross = Decimal(money(quantity * Decimal(product["price"])))
    discounts: list[Discount] = []
    if promotion is not None:
        discounts.append({"code": f"PROMO-{promotion:.0%}".rstrip("%"), "amount": money(gross * promotion)})
    return _priced(
        {
            "kind": product["kind"],
            "productId": product["id"],
            "sku": product["sku"],
            "name": product["name"],
            "quantity": str(quantity),
            "unitPrice": product["price"],
            "grossAmount": money(gross),
            "discounts": discounts,
            "netAmount": "",
            "taxRate": tax_rate,
            "taxAmount": "",
        }
    )


def with_ticket_discount(lines: list[Line], fraction: Decimal, code: str) -> list[Line]:
    """The lines with a discount on the whole ticket spread over the merchandise, so that each line still adds up."""
    return [
        _priced({**item, "discounts": [*item["discounts"], _share(item, fraction, code)]})
        if item["kind"] == "merchandise"
        else item
        for item in lines
    ]


def negated(item: Line) -> Line:
    """The line as a refund carries it: the same price, everything else with the opposite sign."""
    return {
        **item,
        "quantity": _opposite(item["quantity"]),
        "grossAmount": _opposite(item["grossAmount"]),
        "discounts": [{**discount, "amount": _opposite(discount["amount"])} for discount in item["discounts"]],
        "netAmount": _opposite(item["netAmount"]),
        "taxAmount": _opposite(item["taxAmount"]),
    }


def totals(lines: Iterable[Line]) -> Totals:
    """The sums over the lines."""
    gross = discount = tax = Decimal("0.00")
    for item in lines:
        gross += Decimal(item["grossAmount"])
        discount += _discounted(item)
        tax += Decimal(item["taxAmount"])
    net = gross - discount
    return {
        "gross": str(gross),
        "discount": str(discount),
        "net": str(net),
        "tax": str(tax),
        "total": str(net + tax),
    }


def _priced(item: Line) -> Line:
    net = Decimal(item["grossAmount"]) - _discounted(item)
    return {**item, "netAmount": str(net), "taxAmount": money(net * Decimal(item["taxRate"]))}


def _discounted(item: Line) -> Decimal:
    return sum((Decimal(discount["amount"]) for discount in item["discounts"]), Decimal("0.00"))


def _share(item: Line, fraction: Decimal, code: str) -> Discount:
    return {"code": code, "amount": money(Decimal(item["netAmount"]) * fraction)}


def _opposite(amount: str) -> str:
    # Zero keeps its sign off: "-0.00" would be the same number and another string.
    value = Decimal(amount)
    return str(-value) if value else amount
