"""What several execution summaries of one installation add up to."""

from dataclasses import dataclass, field
from datetime import datetime

from services.common.latency import Histogram, add
from services.common.reports import ExecutionSummary


@dataclass(slots=True)
class HookTotals:
    """Of one hook in one store."""

    last_used: datetime
    runs: int = 0
    errors: int = 0
    latency: Histogram = field(default_factory=dict)


@dataclass(slots=True)
class Usage:
    """Of one installation; ``hooks`` by hook and store."""

    hook_runs: int = 0
    hook_errors: int = 0
    route_calls: int = 0
    api_calls: int = 0
    last_used: datetime | None = None
    hooks: dict[tuple[str, str], HookTotals] = field(default_factory=dict)

    def add(self, summary: ExecutionSummary, last_used: datetime) -> None:
        self.hook_runs += summary.hook_runs
        self.hook_errors += summary.hook_errors
        self.route_calls += summary.route_calls
        self.api_calls += summary.api_calls
        self.last_used = last_used if self.last_used is None else max(self.last_used, last_used)
        for hook in summary.hooks:
            totals = self.hooks.setdefault((hook.hook, hook.store), HookTotals(last_used))
            totals.last_used = max(totals.last_used, last_used)
            totals.runs += hook.runs
            totals.errors += hook.errors
            add(totals.latency, hook.latency)
