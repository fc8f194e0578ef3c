"""What loyalty points a set of tickets is worth, worked out from the documents alone.

This is a second reading of the earning rules, for comparison with what the platform awarded. It shares no code with the
plugin, and takes another way through the document: from the ticket's totals instead of its lines.
"""

from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal

from outlet.samples.documents import Sale


def points_of(sale: Sale, points_per_dollar: Decimal = Decimal(1)) -> int:
    """Whole points for one ticket: negative for a refund, 0 for one that is not completed or has no customer."""
    if sale["status"] != "completed" or sale["customerId"] is None:
        return 0
    base = Decimal(sale["totals"]["gross"]) - Decimal(sale["totals"]["discount"])
    for line in sale["lines"]:
        if line["kind"] != "merchandise":
            base -= Decimal(line["grossAmount"]) - sum(Decimal(discount["amount"]) for discount in line["discounts"])
    return int((base * points_per_dollar).quantize(Decimal(1), ROUND_DOWN))


def expected_points(sales: Iterable[Sale], points_per_dollar: Decimal = Decimal(1)) -> dict[str, int]:
    """Points per customer after all these tickets, each counted once. Customers without points are absent."""
    balances: Counter[str] = Counter()
    for sale in sales:
        if sale["customerId"] is not None:
            balances[sale["customerId"]] += points_of(sale, points_per_dollar)
    return {customer: points for customer, points in balances.items() if points}
