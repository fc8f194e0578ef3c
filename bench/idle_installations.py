"""What an event costs with ever more installations that do not listen to it: it should be the same."""

import statistics

from bench.charts import Chart
from bench.findings import check_nothing_failed
from bench.grounds import Grounds
from bench.installations import idle, installed, publish
from bench.results import Findings, Goal, result
from bench.scale import Scale
from bench.workload import NO_OP, WARM_UP

GOAL = Goal(of="ratio", most=True, bound=1.1)


async def idle_installations(grounds: Grounds, scale: Scale) -> Findings:
    """Processor time of a worker and its guest for each no-op event: what else runs on the machine does not count."""
    plugin, events, counts = grounds.plugins.no_op, grounds.broker.bounded(scale.no_op_events), scale.idle_counts
    heard = installed(plugin)
    directories = {count: await publish(grounds.broker, [heard, *idle(plugin, count)]) for count in counts}
    costs: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(scale.rounds):
        for count in counts if number % 2 else counts[::-1]:
            async with grounds.outlet(NO_OP, directories[count]) as stage:
                burst = await stage.contender.warm_burst(grounds.feed, NO_OP.documents(WARM_UP + events))
                await check_nothing_failed(stage.dsn, heard.id)
            costs[count].append(burst.processor_seconds / events * 1e6)
            grounds.say(f"{count:,} idle installations, round {number + 1}: {costs[count][-1]:.1f} us per event")
    fewest, *more = counts
    results = [result(_name(fewest), "us", costs[fewest])]
    results += [
        result(_name(count), "us", costs[count], peer=f"{fewest} of them", peers=costs[fewest], goal=GOAL)
        for count in more
    ]
    bars = [(f"Outlet, {count:,} idle", statistics.median(costs[count])) for count in counts]
    title = "Processor time of an event beside idle installations"
    return Findings(results, [Chart(file="idle-installations", title=title, unit="us", bars=bars)])


def _name(count: int) -> str:
    return f"processor time of an event beside {count:,} idle installations"
