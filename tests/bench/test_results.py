"""What is written of the measurements."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.charts import Chart
from bench.results import Findings, Goal, result, table, write

TWICE = Goal(of="ratio", most=False, bound=2)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = result("throughput", "events/s", [10.0, 40.0, 90.0], peer="peer", peers=[10.0, 10.0, 45.0], goal=TWICE)
    assert (found.value, found.ratio, found.holds) == (40.0, 2.0, True)


@pytest.mark.parametrize(("bound", "holds"), [(1.1, True), (1.0, False)])
def test_a_goal_for_the_most_holds_up_to_its_bound(bound: float, holds: bool) -> None:
    goal = Goal(of="ratio", most=True, bound=bound)
    assert result("p99", "ms", [11.0], peer="alone", peers=[10.0], goal=goal).holds is holds


def test_a_goal_for_a_ratio_needs_a_peer() -> None:
    with pytest.raises(ValueError, match="needs a peer"):
        result("throughput", "events/s", [1.0], goal=TWICE)


def test_results_are_a_list_of_the_same_members_and_the_page_shows_the_charts(tmp_path: Path) -> None:
    stale = tmp_path / "charts" / "stale.svg"
    stale.parent.mkdir()
    stale.write_text("<svg/>")
    chart = Chart(file="throughput", title="Throughput", unit="events/s", bars=[("Outlet", 2.0)])
    found = result("throughput", "events/s", [2.0], peer="peer", peers=[1.0], goal=TWICE)
    write(tmp_path, [Findings([found], [chart])], ["A small run."], {"memory": "24 GiB"})
    (written,) = json.loads((tmp_path / "results.json").read_text())
    assert list(written) == ["name", "value", "unit", "peer", "ratio", "goal", "holds"]
    assert written["holds"] is True
    page = (tmp_path / "results.md").read_text()
    assert "- memory: 24 GiB" in page
    assert "![Throughput](charts/throughput.svg)" in page
    assert table([found]) in page
    assert not stale.exists()


def test_bars_are_as_long_as_their_values() -> None:
    chart = Chart(file="f", title="a < b", unit="ms", bars=[("Outlet", 5.0), ("peer & co", 10.0), ("none", 0.0)])
    picture = ElementTree.fromstring(chart.svg())  # noqa: S314  our own
    _, *bars = [float(each.get("width", "0")) for each in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars[1] == pytest.approx(2 * bars[0], rel=0.01)
    assert bars[2] == 1
    assert "peer & co" in [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
