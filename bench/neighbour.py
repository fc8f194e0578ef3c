"""A healthy plugin alone, and beside one that hangs in every call."""

import statistics

from bench.charts import Chart
from bench.contender import SLOWEST, Latency
from bench.findings import check_nothing_failed, check_points
from bench.grounds import Grounds
from bench.installations import installed, publish
from bench.refusal import Refused
from bench.results import Findings, Goal, result
from bench.scale import Scale
from bench.workload import LOYALTY, WARM_UP

RATE = 200.0
"""Events a second, each for both plugins: what the one that hangs leaves behind soon exceeds what a worker holds."""
GOAL = Goal(of="ratio", most=True, bound=1.1)


async def neighbour(grounds: Grounds, scale: Scale) -> Findings:
    """The latency of the loyalty plugin's awards. There is no circuit breaker here that would stop the other one."""
    healthy, hanging = installed(grounds.plugins.loyalty), installed(grounds.plugins.hanging)
    alone = await publish(grounds.broker, [healthy])
    beside = await publish(grounds.broker, [healthy, hanging])
    found: dict[str, list[Latency]] = {alone: [], beside: []}
    for number in range(scale.neighbour_rounds):
        for directory in (alone, beside) if number % 2 else (beside, alone):
            latency = await _latency(grounds, directory, healthy.id, scale.neighbour_seconds)
            found[directory].append(latency)
            where = "alone" if directory == alone else "beside one that hangs"
            grounds.say(f"a healthy plugin {where}, round {number + 1}: p99 {latency.p99 * 1e3:.1f} ms")
    p99 = {directory: [each.p99 * 1e3 for each in latencies] for directory, latencies in found.items()}
    results = [
        result("latency of a plugin alone, p99", "ms", p99[alone]),
        result(
            "latency of a plugin beside one that hangs, p99",
            "ms",
            p99[beside],
            peer="alone",
            peers=p99[alone],
            goal=GOAL,
        ),
    ]
    bars = [("Outlet, alone", statistics.median(p99[alone])), ("Outlet, beside", statistics.median(p99[beside]))]
    title = "A plugin alone, and beside one that hangs: p99"
    return Findings(results, [Chart(file="neighbour", title=title, unit="ms", bars=bars)])


async def _latency(grounds: Grounds, directory: str, healthy: str, seconds: float) -> Latency:
    documents = LOYALTY.documents(WARM_UP + int(RATE * seconds))
    async with grounds.outlet(LOYALTY, directory) as stage:
        await stage.contender.burst(grounds.feed, documents[:WARM_UP])
        latency = await stage.contender.paced(grounds.feed, documents[WARM_UP:], RATE)
        if latency.rate < SLOWEST * RATE:
            raise Refused(f"{RATE:,.0f} events/s were to be sent, and {latency.rate:,.0f} were")
        await check_points(stage.dsn, "outlet", documents)
        await check_nothing_failed(stage.dsn, healthy)
    return latency
