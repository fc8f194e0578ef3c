"""Points are believed only when they are those of the model."""

import pytest

from bench.findings import compare_points
from bench.refusal import Refused
from bench.workload import LOYALTY, digest, expected_balances, expected_movements

SALES = LOYALTY.documents(200)
BALANCES = expected_balances(SALES)
MOVEMENTS = expected_movements(SALES)


def test_what_the_sales_earn_is_believed() -> None:
    assert sum(BALANCES.values()) > 0
    assert 0 < MOVEMENTS < len(SALES)
    compare_points(BALANCES, MOVEMENTS, SALES)


def test_a_point_too_few_is_refused() -> None:
    customer = next(iter(BALANCES))
    with pytest.raises(Refused, match="1 customers"):
        compare_points(BALANCES | {customer: BALANCES[customer] - 1}, MOVEMENTS, SALES)


def test_points_moved_from_one_customer_to_another_are_refused_although_their_sum_is_right() -> None:
    one, other, *_ = BALANCES
    moved = BALANCES | {one: BALANCES[one] - 1, other: BALANCES[other] + 1}
    with pytest.raises(Refused, match="2 customers"):
        compare_points(moved, MOVEMENTS, SALES)


def test_points_of_a_customer_who_bought_nothing_are_refused() -> None:
    with pytest.raises(Refused, match="1 customers"):
        compare_points(BALANCES | {"stranger": 5}, MOVEMENTS, SALES)


def test_a_movement_too_many_is_refused() -> None:
    with pytest.raises(Refused, match="movements"):
        compare_points(BALANCES, MOVEMENTS + 1, SALES)


def test_a_digest_tells_a_missing_event_and_one_in_anothers_place() -> None:
    assert digest(SALES[1:]) != digest(SALES)
    assert digest([*SALES[1:], SALES[1]]) != digest(SALES)
    assert digest(SALES[::-1]) == digest(SALES)


def test_the_same_events_come_in_every_run() -> None:
    assert LOYALTY.documents(200) == SALES
    assert [sale["id"] for sale in LOYALTY.documents(300)[:200]] == [sale["id"] for sale in SALES]
