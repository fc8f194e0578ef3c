"""The independent reading of the earning rules, on tickets small enough to check by hand."""

from decimal import Decimal
from typing import cast

import pytest

from outlet.samples import Sale, expected_points, points_of, retailer, sales
from outlet.samples.documents import Line


def ticket(gross: str, *, discount: str = "0.00", customer: str | None = "c1", status: str = "completed") -> Sale:
    totals = {"gross": gross, "discount": discount, "tax": "1.00"}
    return cast(Sale, {"status": status, "customerId": customer, "totals": totals, "lines": []})


@pytest.mark.parametrize(
    ("sale", "rate", "points"),
    [
        (ticket("12.99"), "1", 12),
        (ticket("12.99", discount="1.00"), "1", 11),
        (ticket("0.99"), "1", 0),
        (ticket("10.00"), "1.5", 15),
        (ticket("0.29"), "100", 29),
        (ticket("-12.99"), "1", -12),
        (ticket("12.99", customer=None), "1", 0),
        (ticket("12.99", status="voided"), "1", 0),
        (ticket("12.99", status="parked"), "1", 0),
    ],
)
def test_points_of_a_ticket(sale: Sale, rate: str, points: int) -> None:
    assert points_of(sale, Decimal(rate)) == points


def test_gift_cards_earn_nothing() -> None:
    sale = ticket("37.50")
    card = {"kind": "gift_card", "grossAmount": "25.00", "discounts": [{"code": "X", "amount": "2.00"}]}
    sale["totals"]["discount"] = "2.00"
    sale["lines"] = [cast(Line, card)]
    assert points_of(sale) == 12


def test_balances_add_up_per_customer_and_leave_out_nobodys_sales() -> None:
    tickets = [
        ticket("10.00"),
        ticket("5.50"),
        ticket("-3.00"),
        ticket("9.00", customer="c2"),
        ticket("8", customer=None),
    ]
    assert expected_points(tickets) == {"c1": 12, "c2": 9}


def test_refunds_never_take_more_than_the_sale_gave() -> None:
    balances = expected_points(sales(retailer(), 2000))
    assert len(balances) == 200
    assert all(points > 0 for points in balances.values())
