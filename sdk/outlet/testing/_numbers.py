"""Arithmetic as PostgreSQL's numeric does it."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

EXACT = Context(prec=2_000)
MIN_SIGNIFICANT = 16
GROUP = 4
"""PostgreSQL keeps numbers in groups of four decimal digits, which decide how far a quotient is worked out."""


def total(values: Sequence[Decimal]) -> Decimal | None:
    """The sum; None of nothing."""
    if not values:
        return None
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, value)
    return result


def mean(values: Sequence[Decimal]) -> Decimal | None:
    """The average, to as many places as PostgreSQL gives it; None of nothing."""
    found = total(values)
    return None if found is None else _divided(found, Decimal(len(values)))


def _divided(dividend: Decimal, divisor: Decimal) -> Decimal:
    (weight, first), (other_weight, other_first) = _leading(dividend), _leading(divisor)
    quotient = weight - other_weight - (1 if first <= other_first else 0)
    places = max(MIN_SIGNIFICANT - quotient * GROUP, _places(dividend), _places(divisor), 0)
    return EXACT.divide(dividend, divisor).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, EXACT)


def _leading(value: Decimal) -> tuple[int, int]:
    """The power of 10,000 of the first group of digits, and that group's value."""
    if not value:
        return 0, 0
    weight = value.adjusted() // GROUP
    return weight, int(EXACT.scaleb(abs(value), -GROUP * weight))


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
