"""Throughput with one worker and with several of one group."""

import statistics
from collections.abc import Sequence

from bench.charts import Chart
from bench.findings import check_nothing_failed, check_points
from bench.grounds import Grounds
from bench.installations import installed
from bench.results import Findings, Result, result
from bench.scale import Scale
from bench.workload import LOYALTY, NO_OP, WARM_UP, Document, Workload


async def workers(grounds: Grounds, scale: Scale) -> Findings:
    """All workers run on this one machine, so they can gain no more than it has cores."""
    if not grounds.broker.real:
        grounds.say("several workers: left out, because the embedded broker carries one")
        return Findings([])
    results: list[Result] = []
    charts: list[Chart] = []
    for workload, events in ((NO_OP, scale.no_op_events), (LOYALTY, scale.loyalty_events)):
        if workload.name not in scale.worker_workloads:
            continue
        counts = scale.worker_counts
        rates = await _rates(grounds, workload, events, scale)
        one, *more = counts
        name = f"{workload.name}: throughput of {{}} workers"
        results.append(result(f"{workload.name}: throughput of 1 worker", "events/s", rates[one]))
        results += [
            result(name.format(count), "events/s", rates[count], peer="1 worker", peers=rates[one]) for count in more
        ]
        bars = [(f"Outlet, {count} worker{'s'[: count > 1]}", statistics.median(rates[count])) for count in counts]
        title = f"{workload.name}: throughput by workers"
        charts.append(Chart(file=f"{workload.name}-workers", title=title, unit="events/s", bars=bars))
    return Findings(results, charts)


async def _rates(grounds: Grounds, workload: Workload, events: int, scale: Scale) -> dict[int, list[float]]:
    rates: dict[int, list[float]] = {count: [] for count in scale.worker_counts}
    directory = await grounds.directory_of(workload)
    documents = workload.documents(WARM_UP + events)
    for number in range(scale.worker_rounds):
        for count in scale.worker_counts if number % 2 else scale.worker_counts[::-1]:
            rates[count].append(await _rate(grounds, workload, directory, documents, count))
            grounds.say(f"{workload.name}, {count} worker(s), round {number + 1}: {rates[count][-1]:,.0f} events/s")
    return rates


async def _rate(
    grounds: Grounds, workload: Workload, directory: str, documents: Sequence[Document], count: int
) -> float:
    async with grounds.outlet(workload, directory, workers=count) as stage:
        burst = await stage.contender.warm_burst(grounds.feed, documents)
        if workload is LOYALTY:
            await check_points(stage.dsn, "outlet", documents)
        plugin = grounds.plugins.loyalty if workload is LOYALTY else grounds.plugins.no_op
        await check_nothing_failed(stage.dsn, installed(plugin).id)
    return burst.rate
