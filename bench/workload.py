"""The events that every contender gets, and what must have come of them, worked out from the events alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast
from zlib import crc32

from bench.contenders.task import WorkloadName
from outlet.samples import Sale, expected_points, points_of, retailer, sales
from services.common.topics import topic_of

ORGANIZATION = "acme"
CUSTOMERS = 500
STORES = 50
"""As many stores take turns: a batch holds events of all of them."""

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """``documents(n)`` gives the first n payloads, always the same ones; ``plugin`` is who hears of them on Outlet."""

    name: WorkloadName
    event: str
    plugin: str
    documents: Callable[[int], Sequence[Document]]

    @property
    def topic(self) -> str:
        return topic_of(self.event)


def notes(count: int) -> list[Document]:
    """Small sales, about 200 bytes each, of a type that the platform has no entity for: nothing is written for them."""
    lines = [{"product": "p-1", "quantity": 2, "price": "4.95"}, {"product": "p-2", "price": "10.00"}]
    return [
        {
            "id": f"e-{number}",
            "storeId": f"s-{number % STORES}",
            "customerId": f"c-{number % CUSTOMERS}",
            "total": "19.90",
            "lines": lines,
        }
        for number in range(count)
    ]


@cache
def tickets(count: int) -> Sequence[Document]:
    """Whole tickets, about 1,100 bytes each: with refunds, voided ones, and customers that are not known."""
    return cast(list[Document], sales(retailer(customers=CUSTOMERS), count))


WARM_UP = 120
"""Events before the measured ones: processes, connections and prepared statements are there afterwards."""

NO_OP = Workload("no-op", "sale.noted", "bench-plugin", notes)
LOYALTY = Workload("loyalty", "sale.created", "loyalty-points", tickets)


def digest(documents: Sequence[Document]) -> int:
    """What the ids of these events add up to: it differs when one is missing, or stands in for another."""
    return sum(crc32(document["id"].encode()) for document in documents)


def expected_balances(documents: Sequence[Document]) -> dict[str, int]:
    """Points by customer, of those who have any; by the second reading of the rules in :mod:`outlet.samples`."""
    return expected_points(cast(Sequence[Sale], documents))


def expected_movements(documents: Sequence[Document]) -> int:
    """How many of the sales move points at all."""
    return sum(points_of(cast(Sale, document)) != 0 for document in documents)
