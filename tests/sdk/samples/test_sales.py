"""The sample tickets are repeatable, look like a till's, and add up to the cent."""

from collections import Counter
from decimal import Decimal

import pytest

from outlet.samples import Retailer, Sale, retailer, sales


@pytest.fixture(scope="module")
def shop() -> Retailer:
    return retailer(stores=3, customers=200)


@pytest.fixture(scope="module")
def tickets(shop: Retailer) -> list[Sale]:
    return sales(shop, 2000)


def test_a_seed_always_gives_the_same_retailer_and_tickets(shop: Retailer, tickets: list[Sale]) -> None:
    assert retailer(stores=3, customers=200) == shop
    assert sales(shop, 2000) == tickets
    assert sales(shop, 2000, seed=2) != tickets


def test_fewer_tickets_are_the_beginning_of_more(shop: Retailer, tickets: list[Sale]) -> None:
    assert sales(shop, 50) == tickets[:50]


def test_tickets_refer_only_to_what_the_retailer_has(shop: Retailer, tickets: list[Sale]) -> None:
    stores = {store["id"]: store for store in shop.stores}
    cashiers = {person["id"]: person["storeId"] for person in shop.employees if person["role"] == "cashier"}
    prices = {product["id"]: product["price"] for product in shop.products}
    customers = {customer["id"] for customer in shop.customers}
    for sale in tickets:
        assert sale["registerId"] in stores[sale["storeId"]]["registers"]
        assert cashiers[sale["cashierId"]] == sale["storeId"]
        assert sale["customerId"] is None or sale["customerId"] in customers
        assert all(prices[line["productId"]] == line["unitPrice"] for line in sale["lines"])


def test_every_store_sells_and_every_customer_buys(shop: Retailer, tickets: list[Sale]) -> None:
    assert {sale["storeId"] for sale in tickets} == {store["id"] for store in shop.stores}
    assert {sale["customerId"] for sale in tickets} == {customer["id"] for customer in shop.customers} | {None}


def test_tickets_are_distinct_and_in_the_order_of_time(tickets: list[Sale]) -> None:
    assert len({sale["id"] for sale in tickets}) == len(tickets)
    assert len({sale["number"] for sale in tickets}) == len(tickets)
    times = [sale["createdAt"] for sale in tickets]
    assert times == sorted(times)


def test_the_odd_cases_of_a_till_all_occur(tickets: list[Sale]) -> None:
    statuses = Counter(sale["status"] for sale in tickets)
    assert statuses["voided"] > 10
    assert statuses["parked"] > 5
    assert sum(sale["refundOf"] is not None for sale in tickets) > 50
    assert sum(sale["customerId"] is None for sale in tickets) > 100
    lines = [line for sale in tickets for line in sale["lines"]]
    assert any(line["kind"] == "gift_card" for line in lines)
    assert any(line["discounts"] for line in lines)
    assert {tender["method"] for sale in tickets for tender in sale["tenders"]} == {"cash", "card", "gift_card"}


def test_lines_add_up(tickets: list[Sale]) -> None:
    for line in (line for sale in tickets for line in sale["lines"]):
        gross = Decimal(line["quantity"]) * Decimal(line["unitPrice"])
        assert abs(Decimal(line["grossAmount"]) - gross) <= Decimal("0.005")
        discount = sum(Decimal(item["amount"]) for item in line["discounts"])
        assert Decimal(line["netAmount"]) == Decimal(line["grossAmount"]) - discount
        tax = Decimal(line["netAmount"]) * Decimal(line["taxRate"])
        assert abs(Decimal(line["taxAmount"]) - tax) <= Decimal("0.005")


def test_totals_and_tenders_add_up_exactly(tickets: list[Sale]) -> None:
    for sale in tickets:
        totals = {name: Decimal(str(amount)) for name, amount in sale["totals"].items()}
        assert totals["net"] == sum(Decimal(line["netAmount"]) for line in sale["lines"])
        assert totals["net"] == totals["gross"] - totals["discount"]
        assert totals["tax"] == sum(Decimal(line["taxAmount"]) for line in sale["lines"])
        assert totals["total"] == totals["net"] + totals["tax"]
        if sale["status"] == "completed":
            assert sum(Decimal(tender["amount"]) for tender in sale["tenders"]) == totals["total"]
        else:
            assert sale["tenders"] == []
        for tender in sale["tenders"]:
            assert Decimal(tender["amount"]) == Decimal(tender["tendered"]) - Decimal(tender["change"])


def test_a_refund_gives_back_goods_of_one_earlier_sale_once(tickets: list[Sale]) -> None:
    earlier: dict[str, Sale] = {}
    refunded: set[str] = set()
    for sale in tickets:
        if sale["refundOf"] is not None:
            original = earlier[sale["refundOf"]]
            assert original["status"] == "completed"
            assert original["customerId"] == sale["customerId"]
            assert original["storeId"] == sale["storeId"]
            assert sale["refundOf"] not in refunded
            refunded.add(sale["refundOf"])
            assert Decimal(sale["totals"]["total"]) < 0
            assert -Decimal(sale["totals"]["net"]) <= Decimal(original["totals"]["net"])
            assert all(line["kind"] == "merchandise" and line["quantity"].startswith("-") for line in sale["lines"])
        earlier[sale["id"]] = sale


def test_an_impossible_number_of_stores_is_refused() -> None:
    with pytest.raises(ValueError, match="stores: between 1 and 8, not 9"):
        retailer(stores=9)
