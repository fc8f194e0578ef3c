"""The statistics of measurements."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of ``ordered`` values below or at which there is at least this share of them (nearest rank).

    Raises ValueError when there are none.
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def ratios(values: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Each value by that of the peer that ran beside it."""
    return [value / peer for value, peer in zip(values, peers, strict=True)]
