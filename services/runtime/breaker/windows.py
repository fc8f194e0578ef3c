"""What an installation did in the last minute: counts by the second, latency in slices of ten seconds.

A summary that comes again (a process that was killed had not committed it) is counted once. Routes are left out of the
tallies: who calls one is told of its failure at once, and must not be able to stop the plugin for everybody else.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from services.common import latency
from services.common.insights import HookStatistics, WindowStatistics
from services.common.reports import ExecutionSummary, HookSummary, is_route
from services.runtime.breaker.decision import Tally

SLICE_SECONDS = 10
MOST_HOOKS = 500
"""Hooks and stores that the statistics of one installation list: the busiest."""

KEPT_REVISIONS = 8
"""Runs since the latest ones are what a decision may ask for."""

HookKey = tuple[str, str]


@dataclass(slots=True)
class _HookTotals:
    runs: int = 0
    errors: int = 0
    histogram: latency.Histogram = field(default_factory=dict)

    def add(self, more: "HookSummary | _HookTotals", histogram: latency.Histogram) -> None:
        self.runs += more.runs
        self.errors += more.errors
        latency.add(self.histogram, histogram)

    def told(self) -> WindowStatistics:
        quantiles = latency.quantiles_ms(self.histogram)
        return WindowStatistics(runs=self.runs, errors=self.errors, **quantiles)

    def told_of(self, hook: str, store: str) -> HookStatistics:
        quantiles = latency.quantiles_ms(self.histogram)
        return HookStatistics(hook=hook, store=store, runs=self.runs, errors=self.errors, **quantiles)


_Slice = defaultdict[HookKey, _HookTotals]


class Window:
    """The last ``seconds`` of one installation. Times are seconds since 1970 by the workers' clocks."""

    def __init__(self, seconds: float) -> None:
        self._length = seconds
        self._sequences: dict[str, tuple[int, float]] = {}
        self._tallies: dict[tuple[int, int], Tally] = {}  # by second and revision
        self._slices: dict[int, _Slice] = {}
        self._by_revision: dict[int, Tally] = {}
        self.told_empty = False
        """Whether it was told that nothing happens any more."""

    @property
    def empty(self) -> bool:
        return not self._slices and not self._tallies

    def add(self, summary: ExecutionSummary, at: float) -> None:
        """Count a summary, unless it was counted before."""
        counted, _ = self._sequences.get(summary.worker_id, (-1, 0.0))
        if summary.sequence <= counted:
            return
        self._sequences[summary.worker_id] = (summary.sequence, at)
        self.told_empty = False
        hooks = [hook for hook in summary.hooks if not hook.is_route]
        more = Tally(sum(hook.runs for hook in hooks), sum(hook.errors for hook in hooks))
        # An event that always fails is one event, however often it is tried.
        retries = Tally(sum(hook.retries for hook in hooks), sum(hook.failed_retries for hook in hooks))
        first = Tally(max(0, more.runs - retries.runs), max(0, more.errors - retries.errors))
        key = int(at), summary.revision
        self._tallies[key] = self._tallies.get(key, Tally()) + first
        self._by_revision[summary.revision] = self._by_revision.get(summary.revision, Tally()) + more
        if len(self._by_revision) > KEPT_REVISIONS:
            del self._by_revision[min(self._by_revision)]
        part = self._slices.setdefault(int(at // SLICE_SECONDS), defaultdict(_HookTotals))
        for hook in summary.hooks:
            part[hook.hook, hook.store].add(hook, hook.latency)

    def forget(self, now: float) -> None:
        """Drop what is older than the window."""
        oldest = now - self._length
        self._tallies = {key: tally for key, tally in self._tallies.items() if key[0] >= oldest}
        self._slices = {n: part for n, part in self._slices.items() if (n + 1) * SLICE_SECONDS > oldest}
        self._sequences = {worker: (n, at) for worker, (n, at) in self._sequences.items() if at >= oldest}

    def tally(self, since: float, revision: int = 0) -> Tally:
        """First attempts reported from ``since`` on, begun when the installation had ``revision`` or a later one."""
        found = (tally for (second, of), tally in self._tallies.items() if second >= since and of >= revision)
        return sum(found, Tally())

    def since_revision(self, revision: int) -> Tally:
        """All runs from the beginning on: trial runs of a plugin that seldom runs may take longer than a window."""
        return sum((tally for of, tally in self._by_revision.items() if of >= revision), Tally())

    def statistics(self, since: float) -> tuple[WindowStatistics, tuple[HookStatistics, ...]]:
        """The slices that end after ``since``: all hooks together, without routes, and each hook in each store."""
        by_hook: _Slice = defaultdict(_HookTotals)
        for number, part in self._slices.items():
            if (number + 1) * SLICE_SECONDS > since:
                for key, totals in part.items():
                    by_hook[key].add(totals, totals.histogram)
        everything = _HookTotals()
        for (hook, _), totals in by_hook.items():
            if not is_route(hook):
                everything.add(totals, totals.histogram)
        busiest = sorted(by_hook, key=lambda key: (-by_hook[key].runs, key))[:MOST_HOOKS]
        return everything.told(), tuple(by_hook[key].told_of(*key) for key in busiest)
