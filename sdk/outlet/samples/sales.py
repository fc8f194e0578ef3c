"""Tickets as a busy retailer's tills would print them. The same retailer and seed give the same tickets."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from outlet.samples.documents import Line, Product, Sale, SaleStatus, Store, Tender, TenderMethod
from outlet.samples.retailer import Retailer, identifier
from outlet.samples.ticket import line, money, negated, totals, with_ticket_discount

_OPENING = datetime(2026, 1, 5, 9, tzinfo=UTC)
_CLOSING_HOUR = 21
_CHANGE_FOR = (1, 5, 10, 20, 50, 100)

_REFUNDS = 0.05
_WITHOUT_CUSTOMER = 0.12
_ONLINE = 0.08
_VOIDED = 0.02
_PARKED = 0.01
_PROMOTED_LINES = 0.15
_TICKET_DISCOUNTS = 0.06
_GIFT_CARD_LINES = 0.02


def sales(retailer: Retailer, count: int = 2000, *, seed: int = 1, start: datetime = _OPENING) -> list[Sale]:
    """So many tickets in the order they happened, about one in twenty of them the refund of an earlier one."""
    return list(_Tills(retailer, random.Random(seed), start).tickets(count))  # noqa: S311 - repeatable, not secret


class _Tills:
    """Draws one ticket after the other; remembers what may still be refunded, and only once."""

    def __init__(self, retailer: Retailer, rng: random.Random, start: datetime) -> None:
        self._rng = rng
        self._now = start
        self._stores = retailer.stores
        self._customers = retailer.customers
        self._merchandise = [product for product in retailer.products if product["kind"] == "merchandise"]
        self._gift_cards = [product for product in retailer.products if product["kind"] == "gift_card"]
        self._cashiers = {
            store["id"]: [
                person["id"]
                for person in retailer.employees
                if person["storeId"] == store["id"] and person["role"] == "cashier"
            ]
            for store in retailer.stores
        }
        self._refundable: list[Sale] = []

    def tickets(self, count: int) -> Iterator[Sale]:
        for number in range(1, count + 1):
            self._tick()
            if self._refundable and self._chance(_REFUNDS):
                yield self._refund(number)
                continue
            sale = self._sale(number)
            if sale["status"] == "completed" and any(item["kind"] == "merchandise" for item in sale["lines"]):
                self._refundable.append(sale)
            yield sale

    def _sale(self, number: int) -> Sale:
        store = self._rng.choice(self._stores)
        customer = None if self._chance(_WITHOUT_CUSTOMER) else self._rng.choice(self._customers)["id"]
        status: SaleStatus = "completed"
        if self._chance(_VOIDED):
            status = "voided"
        elif self._chance(_PARKED):
            status = "parked"
        lines = self._basket(store)
        return self._ticket(number, store, status, customer, lines)

    def _refund(self, number: int) -> Sale:
        """Give back all of an earlier sale's merchandise, or one line of it, where it was bought."""
        sale = self._refundable.pop(self._rng.randrange(len(self._refundable)))
        goods = [item for item in sale["lines"] if item["kind"] == "merchandise"]
        returned = goods if self._chance(0.4) else [self._rng.choice(goods)]
        store = next(store for store in self._stores if store["id"] == sale["storeId"])
        lines = [negated(item) for item in returned]
        refund = self._ticket(number, store, "completed", sale["customerId"], lines)
        return {**refund, "refundOf": sale["id"]}

    def _ticket(self, number: int, store: Store, status: SaleStatus, customer: str | None, lines: list[Line]) -> Sale:
        sums = totals(lines)
        register = self._rng.choice(store["registers"])
        created = _rfc3339(self._now)
        paid = status == "completed"
        return {
            "id": identifier(self._rng),
            "number": f"{register}-{number:06}",
            "status": status,
            "channel": "online" if self._chance(_ONLINE) else "store",
            "storeId": store["id"],
            "registerId": register,
            "cashierId": self._rng.choice(self._cashiers[store["id"]]),
            "customerId": customer,
            "refundOf": None,
            "currency": store["currency"],
            "createdAt": created,
            "completedAt": created if paid else None,
            "lines": lines,
            "totals": sums,
            "tenders": self._tenders(Decimal(sums["total"])) if paid else [],
        }

    def _basket(self, store: Store) -> list[Line]:
        chosen = self._rng.sample(self._merchandise, k=self._rng.choice((1, 1, 2, 2, 3, 4, 5, 7)))
        lines = [self._line(product, store) for product in chosen]
        if self._chance(_GIFT_CARD_LINES):
            lines.append(line(self._rng.choice(self._gift_cards), Decimal(1), store["taxRates"]["exempt"]))
        if self._chance(_TICKET_DISCOUNTS):
            lines = with_ticket_discount(lines, Decimal("0.05"), "TICKET-5")
        return lines

    def _line(self, product: Product, store: Store) -> Line:
        weighed = product["soldBy"] == "kilogram"
        quantity = (
            Decimal(self._rng.randrange(150, 2500)) / 1000 if weighed else Decimal(self._rng.choice((1, 1, 1, 2, 3)))
        )
        promotion = self._rng.choice((Decimal("0.1"), Decimal("0.25"))) if self._chance(_PROMOTED_LINES) else None
        return line(product, quantity, store["taxRates"][product["taxCategory"]], promotion=promotion)

    def _tenders(self, total: Decimal) -> list[Tender]:
        if total <= 0 or self._chance(0.7):
            return [_exact("card", total)]
        if total > 20 and self._chance(0.2):
            return [_exact("gift_card", Decimal("10.00")), _exact("card", total - 10)]
        note = next((Decimal(note) for note in _CHANGE_FOR if note >= total), total)
        tender = _exact("cash", total)
        return [{**tender, "tendered": money(note), "change": money(note - total)}]

    def _tick(self) -> None:
        self._now += timedelta(seconds=self._rng.randrange(5, 90))
        if self._now.hour >= _CLOSING_HOUR:
            self._now = self._now.replace(hour=_OPENING.hour, minute=0, second=0) + timedelta(days=1)

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability


def _exact(method: TenderMethod, amount: Decimal) -> Tender:
    return {"method": method, "amount": money(amount), "tendered": money(amount), "change": "0.00"}


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
