"""Latency histograms: any two add up, and a quantile is as near as is promised."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.latency import BOUNDS, BUCKETS, add, bucket_of, check, quantile, sparse

WITHIN = 2 ** (1 / 8) - 1 + 1e-9
durations = st.floats(min_value=1e-6, max_value=1_000)


def histogram(seconds: list[float]) -> dict[int, int]:
    counts = [0] * BUCKETS
    for each in seconds:
        counts[bucket_of(each)] += 1
    return sparse(counts)


def test_the_buckets_reach_from_a_microsecond_to_minutes() -> None:
    assert (BOUNDS[0], round(BOUNDS[-1])) == (1e-6, 1074)
    assert (bucket_of(0), bucket_of(BOUNDS[0]), bucket_of(math.inf)) == (0, 1, BUCKETS - 1)


@given(st.lists(durations, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_its_bound_of_the_real_one(seconds: list[float], share: float) -> None:
    real = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    estimate = quantile(histogram(seconds), share)
    assert estimate is not None
    assert abs(estimate - real) <= real * WITHIN


@given(st.lists(durations), st.lists(durations))
def test_the_sum_of_histograms_is_the_histogram_of_all(some: list[float], more: list[float]) -> None:
    total = histogram(some)
    add(total, histogram(more))
    assert total == histogram(some + more)


def test_nothing_has_no_quantile_and_the_ends_are_told_by_their_bounds() -> None:
    assert quantile({}, 0.5) is None
    assert quantile(histogram([0.0]), 0.5) == BOUNDS[0]
    assert quantile(histogram([1e9]), 0.5) == BOUNDS[-1]


@pytest.mark.parametrize("wrong", [{-1: 1}, {BUCKETS: 1}, {3: -1}])
def test_what_is_no_histogram_is_refused(wrong: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="histogram"):
        check(wrong)
