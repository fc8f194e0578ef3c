"""The contenders on the same events: how many a second, at what cost, how late, in how much memory."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields

from bench.charts import Chart
from bench.contender import SLOWEST
from bench.findings import check_nothing_failed, check_points
from bench.grounds import Grounds, Stage
from bench.installations import installed
from bench.lineup import FASTSTREAM, FASTSTREAM_8, FAUST, FAUST_8, OUTLET, RAW, Kind
from bench.results import Findings, Goal, Result, result
from bench.scale import Scale
from bench.workload import LOYALTY, NO_OP, WARM_UP, Document, Workload

MOST_PACED, LEAST_PACED = 100_000, 20
"""Events of one measurement of latency."""

NO_OP_KINDS = (RAW, FAUST, FASTSTREAM, OUTLET)
LOYALTY_KINDS = (RAW, FAUST, FAUST_8, FASTSTREAM_8, OUTLET)
FIGURES = {
    "throughput": ("throughput", "events/s"),
    "processor": ("processor time", "s per million events"),
    "database": ("processor time of PostgreSQL", "s per million events"),
    "p50": ("latency at half load, p50", "ms"),
    "p99": ("latency at half load, p99", "ms"),
    "memory": ("memory under load", "MiB"),
}
"""By field of :class:`Run`: name and unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One contender's turn. None: not measured."""

    throughput: float
    processor: float
    database: float | None
    p50: float | None
    p99: float | None
    memory: float | None


Runs = Mapping[Kind, Sequence[Run]]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What Outlet's throughput is held against: the best of these contenders in each round."""

    peer: str
    kinds: Sequence[Kind]
    goal: Goal | None = None


def _at_least(bound: float) -> Goal:
    return Goal(of="ratio", most=False, bound=bound)


NO_OP_YARDSTICKS = (
    Yardstick(FAUST.name, [FAUST], _at_least(6)),
    Yardstick(RAW.name, [RAW], _at_least(0.5)),
    Yardstick(FASTSTREAM.name, [FASTSTREAM]),
)
LOYALTY_YARDSTICKS = (
    Yardstick("the better Faust agent, at 1 and 8 at once", [FAUST, FAUST_8], _at_least(4)),
    Yardstick(RAW.name, [RAW]),
    Yardstick(FASTSTREAM_8.name, [FASTSTREAM_8]),
)


async def no_op(grounds: Grounds, scale: Scale) -> Findings:
    """Hooks that do nothing."""
    runs = await _rounds(grounds, NO_OP, NO_OP_KINDS, grounds.broker.bounded(scale.no_op_events), scale)
    return findings(NO_OP, runs, NO_OP_YARDSTICKS)


async def loyalty(grounds: Grounds, scale: Scale) -> Findings:
    """Hooks that write: the loyalty plugin, and the same award by the peers."""
    runs = await _rounds(grounds, LOYALTY, LOYALTY_KINDS, grounds.broker.bounded(scale.loyalty_events), scale)
    return findings(LOYALTY, runs, LOYALTY_YARDSTICKS)


async def _rounds(grounds: Grounds, workload: Workload, kinds: Sequence[Kind], events: int, scale: Scale) -> Runs:
    runs: dict[Kind, list[Run]] = {kind: [] for kind in kinds}
    directory = await grounds.directory_of(workload)
    for number in range(scale.rounds):
        # Nobody always comes first: the machine is not the same at the beginning and at the end of a round.
        turn = number % len(kinds)
        for kind in (*kinds[turn:], *kinds[:turn]):
            stage = grounds.outlet(workload, directory) if kind is OUTLET else grounds.peer(kind, workload)
            run = await _run(grounds, workload, kind, stage, events, scale.seconds)
            late = "" if run.p50 is None or run.p99 is None else f", p50 {run.p50:.1f} ms, p99 {run.p99:.1f} ms"
            turn_of = f"{workload.name}, round {number + 1} of {scale.rounds}, {kind.name}"
            grounds.say(f"{turn_of}: {run.throughput:,.0f} events/s{late}")
            runs[kind].append(run)
    return runs


async def _run(
    grounds: Grounds,
    workload: Workload,
    kind: Kind,
    opening: "AbstractAsyncContextManager[Stage]",
    events: int,
    seconds: float,
) -> Run:
    async with opening as stage:
        contender = stage.contender
        await contender.burst(grounds.feed, workload.documents(WARM_UP))
        before = grounds.databases.processor_seconds()
        burst = await contender.burst(grounds.feed, workload.documents(WARM_UP + events)[WARM_UP:])
        of_database = grounds.databases.processor_seconds() - before
        memory = [contender.memory_mib()]
        rate = burst.rate / 2
        paced = grounds.broker.bounded(min(max(int(rate * seconds), LEAST_PACED), MOST_PACED))
        documents = workload.documents(WARM_UP + events + paced)
        latency = await contender.paced(grounds.feed, documents[-paced:], rate)
        memory.append(contender.memory_mib())
        await _check(grounds, workload, kind, stage, documents)
    in_time = latency.rate >= SLOWEST * rate
    if not in_time:
        grounds.say(f"latency of {kind.name} refused: {rate:,.0f}/s were to be sent, and {latency.rate:,.0f} were")
    known = [each for each in memory if each is not None]
    return Run(
        throughput=burst.rate,
        processor=burst.processor_seconds / events * 1e6,
        database=of_database / events * 1e6 if stage.dsn and workload is LOYALTY else None,
        p50=latency.p50 * 1e3 if in_time else None,
        p99=latency.p99 * 1e3 if in_time else None,
        memory=max(known) if known else None,
    )


async def _check(grounds: Grounds, workload: Workload, kind: Kind, stage: Stage, documents: Sequence[Document]) -> None:
    """Raise Refused unless the database shows what these events must have come to."""
    if workload is LOYALTY:
        await check_points(stage.dsn, kind.home, documents)
    if kind is OUTLET:
        plugin = grounds.plugins.loyalty if workload is LOYALTY else grounds.plugins.no_op
        await check_nothing_failed(stage.dsn, installed(plugin).id)


def findings(workload: Workload, runs: Runs, yardsticks: Sequence[Yardstick]) -> Findings:
    """The results and charts of all runs; the n-th runs of all contenders are one round."""
    results: list[Result] = []
    charts: list[Chart] = []
    for field in fields(Run):
        name, unit = FIGURES[field.name]
        values = {kind: [getattr(run, field.name) for run in each] for kind, each in runs.items()}
        title = f"{workload.name}: {name}"
        bars: list[tuple[str, float]] = []
        for kind, found in values.items():
            known = [value for value in found if value is not None]
            if not known:
                continue
            bars.append((kind.name, statistics.median(known)))
            label = f"{title}, {kind.name}"
            if kind is not OUTLET:
                results.append(result(label, unit, known))
            elif field.name == "throughput":
                results += [_held(label, unit, values, yardstick) for yardstick in yardsticks]
            else:
                own, peers = _side_by_side(found, values[FAUST])
                results.append(result(label, unit, own or known, peer=FAUST.name if own else None, peers=peers))
        if bars:
            charts.append(Chart(file=f"{workload.name}-{field.name}", title=title, unit=unit, bars=bars))
    return Findings(results, charts)


def _held(label: str, unit: str, values: Mapping[Kind, list[float]], yardstick: Yardstick) -> Result:
    best = [max(each) for each in zip(*(values[kind] for kind in yardstick.kinds), strict=True)]
    return result(label, unit, values[OUTLET], peer=yardstick.peer, peers=best, goal=yardstick.goal)


def _side_by_side(own: Sequence[float | None], peers: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Those of the rounds in which both were measured."""
    pairs = [(a, b) for a, b in zip(own, peers, strict=True) if a is not None and b is not None]
    return [a for a, _ in pairs], [b for _, b in pairs]
