"""Execution summaries as a worker sends them."""

from typing import Any

from services.common.latency import bucket_of
from services.common.reports import ExecutionSummary, HookSummary


def hook(
    runs: int, errors: int = 0, *, name: str = "sale.created", store: str = "s1", seconds: float = 0.002
) -> HookSummary:
    return HookSummary(hook=name, store=store, runs=runs, errors=errors, latency={bucket_of(seconds): runs})


def summary(installation_id: str, sequence: int, *hooks: HookSummary, **members: Any) -> ExecutionSummary:
    known: dict[str, Any] = {
        "installation_id": installation_id,
        "organization_id": "acme",
        "worker_id": "w1",
        "sequence": sequence,
        "last_used": "2026-02-01T10:00:00+00:00",
        "hooks": hooks,
        "hook_runs": sum(each.runs for each in hooks if not each.is_route),
        "route_calls": sum(each.runs for each in hooks if each.is_route),
        "hook_errors": sum(each.errors for each in hooks),
    }
    return ExecutionSummary(**known | members)
