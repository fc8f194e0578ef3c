"""Reports as documents of an installation's statistics."""

from collections.abc import Sequence
from typing import Any

from services.common import latency
from services.common.events import ORGANIZATION_WIDE
from services.common.insights import HookStatistics, Statistics, WindowStatistics
from services.common.reports import is_route
from services.registry.installations.schemas import HookStats, HookUsageStats, RecentStats, WindowStats
from services.registry.models import HookUsage
from services.registry.reports.repository import histogram_of


def usage_members(usage: Sequence[HookUsage], recent: Statistics | None) -> dict[str, Any]:
    """What reports add to the statistics of an installation."""
    everything: latency.Histogram = {}
    for row in usage:
        if not is_route(row.hook):
            latency.add(everything, histogram_of(row))
    return {
        **latency.quantiles_ms(everything),
        "hooks": [_hook(row) for row in usage],
        "recent": None if recent is None else _recent(recent),
    }


def _hook(row: HookUsage) -> HookUsageStats:
    return HookUsageStats(
        hook=row.hook,
        store_id=_store(row.store_id),
        runs=row.runs,
        errors=row.errors,
        last_used=row.last_used_at,
        **latency.quantiles_ms(histogram_of(row)),
    )


def _recent(told: Statistics) -> RecentStats:
    return RecentStats(
        at=told.at,
        latest=WindowStats(**_window(told.recent, told.recent_seconds)),
        hooks=[_recent_hook(each) for each in told.hooks],
        **_window(told.total, told.seconds),
    )


def _recent_hook(told: HookStatistics) -> HookStats:
    return HookStats(hook=told.hook, store_id=_store(told.store), runs=told.runs, errors=told.errors, **_latency(told))


def _window(told: WindowStatistics, seconds: float) -> dict[str, Any]:
    rate = told.errors / told.runs if told.runs else 0.0
    return {"seconds": seconds, "runs": told.runs, "errors": told.errors, "error_rate": rate, **_latency(told)}


def _latency(told: WindowStatistics) -> dict[str, float | None]:
    return {"p50_ms": told.p50_ms, "p95_ms": told.p95_ms, "p99_ms": told.p99_ms}


def _store(store: str) -> str | None:
    return None if store == ORGANIZATION_WIDE else store
