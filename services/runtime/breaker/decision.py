"""When a circuit breaker opens, tries again and closes: pure functions of what was counted and what time it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.common.directory import Breaker, BreakerState


@dataclass(frozen=True, slots=True)
class Tally:
    """Runs that ended, and how many of them failed."""

    runs: int = 0
    errors: int = 0

    def __add__(self, more: "Tally") -> "Tally":
        return Tally(self.runs + more.runs, self.errors + more.errors)

    @property
    def error_rate(self) -> float:
        """0 (none failed, or none ran) to 1."""
        return min(1.0, self.errors / self.runs) if self.runs else 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When breakers open and close.

    - ``windows``: seconds over which errors are counted; any of them can open a breaker. A short one notices soon what
      happens to a busy plugin, a long one sees enough of a quiet one.
    - ``minimum_runs``: how many runs a window must have to be judged.
    - ``error_rate``: the share (above 0, up to 1) of failed runs from which on it opens.
    - ``open_seconds``: how long nothing runs; then it is half-open.
    - ``probes``: runs in the half-open state from which its end is decided.
    """

    windows: tuple[float, ...] = (10.0, 60.0)
    minimum_runs: int = 20
    error_rate: float = 0.5
    open_seconds: float = 30.0
    probes: int = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """The state that a breaker is to have, and why."""

    state: BreakerState
    reason: str


def decide(
    breaker: Breaker, by_window: Mapping[float, Tally], since_change: Tally, now: datetime, policy: Policy
) -> Decision | None:
    """What is to become of a breaker; None: it stays as it is.

    All tallies are of runs that began since the breaker's last change: ``by_window`` by the seconds of the window,
    ``since_change`` of however long that is.
    """
    if breaker.state == "closed":
        return _judge_windows(by_window, policy)
    if breaker.state == "half_open":
        return _judge_probes(since_change, policy)
    if breaker.until is None or now >= datetime.fromisoformat(breaker.until):
        return Decision("half_open", "it is tried whether the plugin works again")
    return None


def _judge_windows(by_window: Mapping[float, Tally], policy: Policy) -> Decision | None:
    for seconds in policy.windows:
        tally = by_window.get(seconds, Tally())
        if tally.runs >= policy.minimum_runs and tally.error_rate >= policy.error_rate:
            return Decision("open", f"{tally.errors} of {tally.runs} events failed within {seconds:g} s")
    return None


def _judge_probes(probes: Tally, policy: Policy) -> Decision | None:
    if probes.runs < policy.probes:
        # Even if all others succeeded, it would be too many.
        hopeless = probes.errors > 0 and probes.errors / policy.probes >= policy.error_rate
        return Decision("open", f"{probes.errors} of {probes.runs} trial runs failed") if hopeless else None
    if probes.error_rate >= policy.error_rate:
        return Decision("open", f"{probes.errors} of {probes.runs} trial runs failed")
    return Decision("closed", f"{probes.runs - probes.errors} of {probes.runs} trial runs succeeded")
