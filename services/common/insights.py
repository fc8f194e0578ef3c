"""What the insights process tells the registry: statistics of the last minute, and what circuit breakers should do."""

from typing import Literal

import msgspec

from services.common.directory import BreakerState


class WindowStatistics(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Runs that ended within a window, their errors, and their latency in milliseconds (None: no runs)."""

    runs: int
    errors: int
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
    open_seconds: float
    probes: int


def encode(message: Statistics | BreakerChange) -> bytes:
    return msgspec.json.encode(message)


def decode_statistics(value: bytes) -> Statistics:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=Statistics)


def decode_change(value: bytes) -> BreakerChange:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=BreakerChange)
