"""The records that every contender reads."""

import json
from collections.abc import Iterator

from services.common.events import DomainEvent

TYPE = "sale.noted"
"""A type that the platform has no entity for: nothing is written for it."""
ORGANIZATION = "acme"


def events(count: int) -> Iterator[DomainEvent]:
    """Sales of 500 customers, about 200 bytes each."""
    for number in range(count):
        sale = {
            "id": f"s-{number}",
            "customerId": f"c-{number % 500}",
            "total": "19.90",
            "lines": [{"product": "p-1", "quantity": 2, "price": "4.95"}, {"product": "p-2", "price": "10.00"}],
        }
        data = json.dumps(sale).encode()
        yield DomainEvent(f"e-{number}", TYPE, "urn:bench", "2026-11-01T12:00:00Z", ORGANIZATION, "s1", data)
