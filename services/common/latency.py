"""Latency histograms with fixed logarithmic buckets, so that any two can be added up.

Bucket ``i`` holds durations from ``BOUNDS[i - 1]`` up to, but not including, ``BOUNDS[i]`` seconds; bucket 0 all below
one microsecond, and the last one all from ``BOUNDS[-1]`` (about 18 minutes) on. Each bound is the fourth root of two
(19 %) above the one before, so a quantile, told as the geometric middle of its bucket, is at most 9.1 % off.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

STEPS_PER_OCTAVE = 4
OCTAVES = 30
BOUNDS = tuple(1e-6 * 2 ** (step / STEPS_PER_OCTAVE) for step in range(STEPS_PER_OCTAVE * OCTAVES + 1))
BUCKETS = len(BOUNDS) + 1

Histogram = dict[int, int]
"""How many durations were in each bucket; buckets without any are left out."""

_HALF_A_STEP = 2 ** (0.5 / STEPS_PER_OCTAVE)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    return bisect_right(BOUNDS, seconds)


def sparse(counts: Iterable[int]) -> Histogram:
    """The histogram of counts that are listed for every bucket."""
    return {bucket: count for bucket, count in enumerate(counts) if count}


def add(total: Histogram, more: Mapping[int, int]) -> None:
    """Add up, into ``total``."""
    for bucket, count in more.items():
        total[bucket] = total.get(bucket, 0) + count


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """The duration in seconds that ``share`` (0 to 1) of all do not exceed; None when there is none."""
    wanted = share * sum(histogram.values())
    passed = 0
    for bucket in sorted(histogram):
        passed += histogram[bucket]
        if passed and passed >= wanted:
            return _middle(bucket)
    return None


def quantiles_ms(histogram: Mapping[int, int]) -> dict[str, float | None]:
    """``p50_ms``, ``p95_ms`` and ``p99_ms``: the usual quantiles in milliseconds."""
    found = {name: quantile(histogram, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {f"{name}_ms": None if each is None else round(each * 1e3, 3) for name, each in found.items()}


def check(histogram: Mapping[int, int]) -> None:
    """Raises ValueError for what is no histogram of these buckets."""
    if any(not 0 <= bucket < BUCKETS or count < 0 for bucket, count in histogram.items()):
        raise ValueError("a latency histogram has an unknown bucket or a negative count")


def _middle(bucket: int) -> float:
    return BOUNDS[0] if bucket == 0 else BOUNDS[bucket - 1] * (_HALF_A_STEP if bucket < len(BOUNDS) else 1)
