"""From execution summaries and the directory to statistics and changes of breakers. No Kafka, no clock of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime

from services.common.directory import Directory, Installation
from services.common.insights import BreakerChange, Statistics
from services.common.reports import decode_summary
from services.runtime.breaker.decision import Decision, Policy, Tally, decide
from services.runtime.breaker.windows import Window

REPEAT_SECONDS = 5.0
"""After so long a decision is told again that the directory does not show: it was lost, or came at a bad time."""


class Observation:
    """What is known of all installations that did something lately. ``now`` is seconds since 1970.

    The state of breakers is the directory's, which the registry writes: nothing has to be remembered for a restart.
    """

    def __init__(self, directory: Directory, policy: Policy) -> None:
        self._directory = directory
        self._policy = policy
        self._length = max(policy.windows)
        self._windows: dict[str, Window] = {}
        self._told: dict[str, tuple[int, Decision, float]] = {}

    def observe(self, value: bytes | None, at: float, now: float) -> None:
        """Count a summary that was published ``at``. Raises ValueError when it is none."""
        if value is None:
            raise ValueError("a summary has a value")
        summary = decode_summary(value)
        at = min(at, now)  # a clock that is ahead must not keep its counts for longer
        if at < now - self._length:
            return
        window = self._windows.get(summary.installation_id)
        if window is None:
            window = self._windows[summary.installation_id] = Window(self._length)
        window.add(summary, at)

    def changes(self, now: float) -> Iterator[BreakerChange]:
        """The breakers that are to change, each told once in a while until the directory shows it."""
        for installation in self._candidates():
            decision = self._decide(installation, now)
            if decision is None:
                self._told.pop(installation.id, None)
                continue
            revision, told, when = self._told.get(installation.id, (-1, None, 0.0))
            # Its reason may have other numbers a second later.
            same = told is not None and (revision, told.state) == (installation.breaker.revision, decision.state)
            if same and now - when < REPEAT_SECONDS:
                continue
            self._told[installation.id] = (installation.breaker.revision, decision, now)
            yield BreakerChange(
                installation_id=installation.id,
                revision=installation.breaker.revision,
                state=decision.state,
                reason=decision.reason,
                open_seconds=self._policy.open_seconds,
                probes=self._policy.probes,
            )

    def statistics(self, now: float) -> Iterator[Statistics]:
        """Of every installation that did something in the window, and once of one that does nothing any more."""
        for installation_id, window in list(self._windows.items()):
            window.forget(now)
            if window.empty and not self._is_held(installation_id):
                del self._windows[installation_id]
                self._told.pop(installation_id, None)
            if window.told_empty:
                continue
            window.told_empty = window.empty
            total, hooks = window.statistics(now - self._length)
            shortest = min(self._policy.windows)
            recent, _ = window.statistics(now - shortest)
            yield Statistics(
                installation_id=installation_id,
                at=datetime.fromtimestamp(now, UTC).isoformat(),
                seconds=self._length,
                total=total,
                recent_seconds=shortest,
                recent=recent,
                hooks=hooks,
            )

    def _is_held(self, installation_id: str) -> bool:
        """Whether the counts of trial runs are still needed."""
        found = self._directory.get(installation_id)
        return found is not None and found.listens and found.breaker.state != "closed"

    def _candidates(self) -> Iterator[Installation]:
        for installation in self._directory:
            if installation.breaker.state == "closed":
                if installation.status == "active" and installation.id in self._windows:
                    yield installation
            elif installation.listens:
                yield installation

    def _decide(self, installation: Installation, now: float) -> Decision | None:
        breaker, window = installation.breaker, self._windows.get(installation.id)
        by_window: dict[float, Tally] = {}
        since_change = Tally()
        if window is not None:
            by_window = {each: window.tally(now - each, breaker.revision) for each in self._policy.windows}
            since_change = window.since_revision(breaker.revision)
        return decide(breaker, by_window, since_change, datetime.fromtimestamp(now, UTC), self._policy)
