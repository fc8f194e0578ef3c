"""The comparison of contenders: its arithmetic, and that every contender still gets through its events."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bench.comparison import LOYALTY_YARDSTICKS, Run, findings, loyalty, no_op
from bench.findings import check_nothing_failed
from bench.grounds import Grounds, ground
from bench.installations import installed, publish
from bench.lineup import FASTSTREAM_8, FAUST, FAUST_8, OUTLET, RAW, Kind
from bench.refusal import Refused
from bench.scale import SMALL
from bench.workload import LOYALTY, NO_OP

RUN = Run(throughput=100, processor=10, database=1, p50=1, p99=2, memory=50)


@pytest.fixture(scope="module")
async def grounds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Grounds]:
    async with ground(tmp_path_factory.mktemp("bench"), lambda _: None, embedded=True) as opened:
        yield opened


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
async def test_every_contender_gets_through_its_events(grounds: Grounds) -> None:
    """Figures are no test's business; that there are some, of every contender, is."""
    scale = replace(SMALL, no_op_events=300, loyalty_events=40, seconds=0.3)
    of_no_op, of_loyalty = await no_op(grounds, scale), await loyalty(grounds, scale)
    for found, kinds in ((of_no_op, 4), (of_loyalty, 5)):
        (throughput,) = [each for each in found.charts if each.file.endswith("throughput")]
        assert len(throughput.bars) == kinds
        assert all(rate > 0 for _, rate in throughput.bars)


async def test_events_whose_hooks_failed_are_refused_although_the_worker_is_through_with_them(grounds: Grounds) -> None:
    """The hanging plugin stands in for the one that is measured: each of its calls runs into its limit."""
    hanging = installed(grounds.plugins.hanging)
    directory = await publish(grounds.broker, [hanging])
    workload = replace(NO_OP, plugin=hanging.plugin_id)
    async with grounds.outlet(workload, directory) as stage:
        await stage.contender.burst(grounds.feed, workload.documents(4))
        with pytest.raises(Refused, match="hooks failed on 4 events"):
            await check_nothing_failed(stage.dsn, hanging.id)
