"""The trade that the demo delivers: repeatable, with repetitions that would show if they were counted."""

from collections import Counter

import httpx
import pytest

from outlet.local.client import refusal
from outlet.local.scenario import Trade, trade
from outlet.samples import points_of
from outlet.samples.records import record


@pytest.fixture(scope="module")
def business() -> Trade:
    return trade("acme", count=400, customers=40, redelivered=20)


def test_every_ticket_comes_once_in_order_and_the_repetitions_come_later(business: Trade) -> None:
    once = [record("sale", ticket, organization="acme") for ticket in business.tickets]
    firsts: dict[str, int] = {}
    for place, item in enumerate(business.stream):
        firsts.setdefault(item.id, place)
    assert list(firsts) == [item.id for item in once]
    deliveries = Counter(item.id for item in (*business.stream, *business.late))
    assert Counter(deliveries.values()) == {1: 380, 2: 20}
    assert business.redelivered == 20
    assert len(business.late) == 10


def test_only_tickets_that_earn_or_take_points_are_repeated(business: Trade) -> None:
    earning = {record("sale", ticket, organization="acme").id for ticket in business.tickets if points_of(ticket)}
    deliveries = Counter(item.id for item in (*business.stream, *business.late))
    assert {item for item, times in deliveries.items() if times == 2} <= earning


def test_every_customer_has_an_expectation(business: Trade) -> None:
    assert set(business.expected) == {customer["id"] for customer in business.retailer.customers}
    assert sum(business.expected.values()) == sum(map(points_of, business.tickets))


def test_the_further_sale_would_earn_and_is_none_of_the_others(business: Trade) -> None:
    assert points_of(business.further) > 0
    assert business.further["id"] not in {ticket["id"] for ticket in business.tickets}


def test_the_same_seed_makes_the_same_trade(business: Trade) -> None:
    assert trade("acme", count=400, customers=40, redelivered=20) == business
    assert trade("acme", count=400, customers=40, redelivered=20, seed=2) != business


def test_an_error_answer_is_named_after_its_problem() -> None:
    problem = {"code": "not_active", "detail": "loyalty-points is inactive"}
    refused = refusal(httpx.Response(409, json=problem, headers={"content-type": "application/problem+json"}))
    assert (refused.status, refused.code, str(refused)) == (
        409,
        "not_active",
        "409 not_active: loyalty-points is inactive",
    )
    assert refusal(httpx.Response(502, text="bad gateway")).code == "unknown"
