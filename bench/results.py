"""What was measured, for people and for programs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.charts import Chart
from bench.figures import ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """``ratio`` (to the peer) or ``value`` at least, or at most, ``bound``."""

    of: Literal["ratio", "value"]
    most: bool
    bound: float

    def holds(self, value: float, ratio: float | None) -> bool:
        found = ratio if self.of == "ratio" else value
        if found is None:
            raise ValueError("a goal for a ratio needs a peer")
        return found <= self.bound if self.most else found >= self.bound

    def __str__(self) -> str:
        sign = "x" if self.of == "ratio" else ""
        return f"{'at most' if self.most else 'at least'} {self.bound:g}{sign}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """``value`` is the median of the rounds; ``ratio``, to ``peer``, the median of the rounds' own ratios."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None
    goal: str | None = None
    holds: bool | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one part of the benchmark."""

    results: Sequence[Result]
    charts: Sequence[Chart] = ()


def result(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    peer: str | None = None,
    peers: Sequence[float] = (),
    goal: Goal | None = None,
) -> Result:
    """Put the rounds of one measurement together; the n-th of ``values`` ran beside the n-th of ``peers``."""
    value = statistics.median(values)
    ratio = statistics.median(ratios(values, peers)) if peers else None
    return Result(
        name=name,
        value=_rounded(value),
        unit=unit,
        peer=peer,
        ratio=None if ratio is None else _rounded(ratio),
        goal=None if goal is None else str(goal),
        holds=None if goal is None else goal.holds(value, ratio),
    )


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| measured | value | beside | ratio | goal | holds |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {each.name} | {_number(each.value)} {each.unit} | {each.peer or ''} | {_number(each.ratio)} "
        f"| {each.goal or ''} | {'' if each.holds is None else 'yes' if each.holds else 'no'} |"
        for each in results
    ]
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """The results as a JSON list."""
    return json.dumps([asdict(each) for each in results], indent=2)


def write(folder: Path, found: Sequence[Findings], head: Sequence[str], described: Mapping[str, str]) -> None:
    """Write results.json, results.md and the charts into a folder, in place of what is there."""
    results = [each for part in found for each in part.results]
    charts = [each for part in found for each in part.charts]
    pictures = folder / "charts"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    for chart in charts:
        (pictures / f"{chart.file}.svg").write_text(chart.svg())
    sections = [
        "# Measurements",
        *head,
        "\n".join(f"- {key}: {value}" for key, value in described.items()),
        *(f"![{chart.title}](charts/{chart.file}.svg)" for chart in charts),
        table(results),
    ]
    (folder / "results.md").write_text("\n\n".join(sections) + "\n")
    (folder / "results.json").write_text(as_json(results) + "\n")


def _rounded(value: float) -> float:
    """Four figures are more than a measurement has."""
    return float(f"{value:.4g}")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"
