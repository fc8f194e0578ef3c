"""The statistics, on values that can be worked out by hand."""

import pytest

from bench.figures import percentile, ratios


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.505, 51.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(each) for each in range(1, 101)], share) == expected


def test_one_value_is_every_percentile() -> None:
    assert [percentile([3.5], share) for share in (0.01, 0.5, 0.99)] == [3.5] * 3


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_ratios_are_taken_within_rounds() -> None:
    assert ratios([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]


def test_rounds_without_a_peer_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([10.0, 30.0], [5.0])
