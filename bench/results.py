"""What was measured, for people and for programs."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent


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
    """``value`` and the ``peer``'s are medians of runs; ``ratio`` is the median of the runs' own ratios."""

    name: str
    value: float
    unit: str
    runs: int
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    goal: str | None = None
    holds: bool | None = None


def result(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    peer: str | None = None,
    peers: Sequence[float] = (),
    goal: Goal | None = None,
) -> Result:
    """Put the runs of one measurement together; the n-th of ``values`` ran beside the n-th of ``peers``."""
    value = statistics.median(values)
    ratio = statistics.median(a / b for a, b in zip(values, peers, strict=True)) if peers else None
    return Result(
        name=name,
        value=round(value, 3),
        unit=unit,
        runs=len(values),
        peer=peer,
        peer_value=round(statistics.median(peers), 3) if peers else None,
        ratio=None if ratio is None else round(ratio, 3),
        goal=None if goal is None else str(goal),
        holds=None if goal is None else goal.holds(value, ratio),
    )


def machine() -> dict[str, str]:
    """What it was measured on."""
    info = dict(
        line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line
    )
    model = next((value.strip() for key, value in info.items() if key.strip() == "model name"), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| measured | Outlet | peer | peer's | ratio | goal | holds |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {each.name} | {_number(each.value)} {each.unit} | {each.peer or ''} "
        f"| {_number(each.peer_value)} | {_number(each.ratio)} | {each.goal or ''} "
        f"| {'' if each.holds is None else 'yes' if each.holds else 'no'} |"
        for each in results
    ]
    return "\n".join(lines)


def write(results: Sequence[Result], found: dict[str, str], *, small: bool) -> None:
    """Write results.md and results.json beside this module."""
    described = "\n".join(f"- {key}: {value}" for key, value in found.items())
    size = "small" if small else "full"
    head = f"# Measurements\n\nMade by `make bench` ({size} run): medians; ratios are those of runs side by side."
    (FOLDER / "results.md").write_text(f"{head}\n\n{described}\n\n{table(results)}\n")
    document = {"small": small, "machine": found, "results": [asdict(each) for each in results]}
    (FOLDER / "results.json").write_text(json.dumps(document, indent=2) + "\n")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.3g}"
