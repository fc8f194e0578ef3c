"""What a ticket earns, on documents small enough to check by hand, and on a retailer's whole trade."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from loyalty_points.earning import UnreadableSale, points_for

from outlet.samples import expected_points, retailer, sales


def ticket(*nets: str, **members: Any) -> dict[str, Any]:
    lines = [{"kind": "merchandise", "netAmount": net} for net in nets]
    return {"id": "s-1", "status": "completed", "customerId": "c-1", "lines": lines, **members}


@pytest.mark.parametrize(
    ("nets", "rate", "points"),
    [
        (("12.99",), "1", 12),
        (("0.99",), "1", 0),
        (("0.60", "0.60"), "1", 1),
        (("10.00",), "1.5", 15),
        (("10.00",), "0.25", 2),
        (("0.29",), "100", 29),
        (("1.10", "2.20"), "10", 33),
        ((), "1", 0),
    ],
)
def test_the_net_amount_times_the_rate_is_rounded_down_once(nets: tuple[str, ...], rate: str, points: int) -> None:
    assert points_for(ticket(*nets), Decimal(rate)) == points


def test_a_full_refund_takes_back_exactly_what_the_sale_gave() -> None:
    rate = Decimal("1.37")
    assert points_for(ticket("-12.99", "-3.50"), rate) == -points_for(ticket("12.99", "3.50"), rate)


def test_partial_refunds_never_take_more_than_the_sale_gave() -> None:
    sold = points_for(ticket("1.99", "1.99", "1.99"), Decimal(1))
    refunded = sum(points_for(ticket("-1.99"), Decimal(1)) for _ in range(3))
    assert sold + refunded >= 0


@pytest.mark.parametrize("status", ["voided", "parked", "refunded", None])
def test_a_ticket_that_is_not_completed_earns_nothing(status: str | None) -> None:
    assert points_for(ticket("12.99", status=status), Decimal(1)) == 0


@pytest.mark.parametrize("customer", [None, ""])
def test_a_ticket_without_a_customer_earns_nothing(customer: str | None) -> None:
    assert points_for(ticket("12.99", customerId=customer), Decimal(1)) == 0


def test_a_gift_card_sold_earns_nothing_beside_goods_that_do() -> None:
    sale = ticket("12.99")
    sale["lines"].append({"kind": "gift_card", "netAmount": "50.00"})
    assert points_for(sale, Decimal(1)) == 12


def test_a_line_without_a_kind_is_merchandise() -> None:
    assert points_for(ticket(lines=[{"netAmount": "5.00"}]), Decimal(1)) == 5


@pytest.mark.parametrize("amount", ["12.90", Decimal("12.90"), 12])
def test_an_amount_may_also_be_a_number_that_is_exact(amount: object) -> None:
    assert points_for(ticket(lines=[{"netAmount": amount}]), Decimal(1)) == 12


@pytest.mark.parametrize("amount", [12.99, True, None, "", "a lot", "NaN", "Infinity"])
def test_an_amount_that_is_no_decimal_string_is_refused_by_name(amount: object) -> None:
    sale = ticket("1.00", lines=[{"netAmount": "1.00"}, {"netAmount": amount}])
    with pytest.raises(UnreadableSale, match=r"sale\.lines\[1\]\.netAmount"):
        points_for(sale, Decimal(1))


@pytest.mark.parametrize(("lines", "member"), [(None, r"sale\.lines must"), (["x"], r"sale\.lines\[0\] must")])
def test_lines_that_are_none_are_refused(lines: object, member: str) -> None:
    with pytest.raises(UnreadableSale, match=member):
        points_for(ticket(lines=lines), Decimal(1))


@pytest.mark.parametrize("rate", ["1", "0.5", "1.37", "10"])
def test_a_whole_trade_comes_to_what_an_independent_reading_of_the_rules_says(rate: str) -> None:
    tickets = sales(retailer(), 1000)
    balances: Counter[str] = Counter()
    for sale in tickets:
        if sale["customerId"]:
            balances[sale["customerId"]] += points_for(sale, Decimal(rate))
    assert {customer: points for customer, points in balances.items() if points} == expected_points(
        tickets, Decimal(rate)
    )
