"""What the insights process tells the registry: statistics of the last minute, and what circuit breakers should do."""

from typing import Annotated

import msgspec

from services.common.directory import BreakerState
from services.common.events import holds_nul
from services.common.reports import Count

A_MONTH = 30 * 24 * 3_600


class WindowStatistics(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Runs that ended within a window, their errors, and their latency in milliseconds (None: no runs)."""

    runs: Count
    errors: Count
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class HookStatistics(WindowStatistics, rename="camel", frozen=True, kw_only=True):
    """The same of one hook in one store (``*``: in none)."""

    hook: str
    store: str


class Statistics(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The value on ``outlet.statistics``: replaces what was told of the installation before ``at``.

    ``at`` (RFC 3339) is the end of the window of ``seconds``; ``recent`` is of its last ``recent_seconds``.
    """

    installation_id: str
    at: str
    seconds: float
    total: WindowStatistics
    recent_seconds: float
    recent: WindowStatistics
    hooks: tuple[HookStatistics, ...] = ()


class BreakerChange(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The value on ``outlet.breakers``: change a breaker that is still as it was decided at ``revision``.

    ``open_seconds`` (open) is after how long it is to become half-open; ``probes`` (open, half-open) are those it lets
    through then.
    """

    installation_id: str
    revision: int
    state: BreakerState
    reason: str
    open_seconds: Annotated[float, msgspec.Meta(ge=0, le=A_MONTH)]
    probes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def encode(message: Statistics | BreakerChange) -> bytes:
    return msgspec.json.encode(message)


def decode_statistics(value: bytes | None) -> Statistics:
    """Raises ValueError (which msgspec's errors are)."""
    return msgspec.json.decode(_storable(value), type=Statistics)


def decode_change(value: bytes | None) -> BreakerChange:
    """Raises ValueError (which msgspec's errors are)."""
    return msgspec.json.decode(_storable(value), type=BreakerChange)


def _storable(value: bytes | None) -> bytes:
    if value is None or holds_nul(value):
        raise ValueError("a record of insights has a value, and in it no NUL, which PostgreSQL cannot hold")
    return value
