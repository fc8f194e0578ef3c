"""The comparison of contenders: its arithmetic, and that every contender still gets through its events."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.comparison import LOYALTY_YARDSTICKS, Run, findings, loyalty, no_op
from bench.grounds import ground
from bench.lineup import FASTSTREAM_8, FAUST, FAUST_8, OUTLET, RAW, Kind
from bench.scale import SMALL
from bench.workload import LOYALTY

RUN = Run(throughput=100, processor=10, database=1, p50=1, p99=2, memory=50)


def at(*rates: float) -> list[Run]:
    return [replace(RUN, throughput=rate) for rate in rates]


def runs_of(outlet: list[Run]) -> dict[Kind, list[Run]]:
    return {RAW: at(100, 100), FAUST: at(100, 300), FAUST_8: at(200, 200), FASTSTREAM_8: at(100, 100), OUTLET: outlet}


def test_outlet_is_held_against_the_best_of_each_round() -> None:
    found = findings(LOYALTY, runs_of(at(800, 1_500)), LOYALTY_YARDSTICKS)
    (held,) = [each for each in found.results if each.goal is not None]
    assert held.ratio == pytest.approx((800 / 200 + 1_500 / 300) / 2)
    assert held.holds is True


def test_what_was_not_measured_is_left_out_and_never_compared_across_rounds() -> None:
    late = [replace(RUN, p99=8.0), replace(RUN, p99=None)]
    runs = runs_of(late) | {FAUST: [replace(RUN, p99=2.0), replace(RUN, p99=400.0)]}
    results = {each.name: each for each in findings(LOYALTY, runs, LOYALTY_YARDSTICKS).results}
    outlet = results["loyalty: latency at half load, p99, Outlet"]
    assert (outlet.value, outlet.ratio) == (8.0, 4.0)


@pytest.mark.timeout(300)
async def test_every_contender_gets_through_its_events(tmp_path: Path) -> None:
    """Figures are no test's business; that there are some, of every contender, is."""
    scale = replace(SMALL, no_op_events=300, loyalty_events=40, seconds=0.3)
    told: list[str] = []
    async with ground(tmp_path, told.append, embedded=True) as grounds:
        of_no_op, of_loyalty = await no_op(grounds, scale), await loyalty(grounds, scale)
    for found, kinds in ((of_no_op, 4), (of_loyalty, 5)):
        (throughput,) = [each for each in found.charts if each.file.endswith("throughput")]
        assert len(throughput.bars) == kinds
        assert all(rate > 0 for _, rate in throughput.bars)
    assert len(told) >= 9
