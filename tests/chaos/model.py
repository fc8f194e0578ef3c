"""What the run must come to, worked out from what was sent alone, and how what was found differs from it.

It shares no code with the platform. Points come from the second reading of the earning rules in `outlet.samples`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from outlet.samples import Sale, expected_points, points_of
from tests.chaos.fate import fate
from tests.chaos.findings import Findings

MINUTE = timedelta(minutes=1)
TICK_LATE = timedelta(seconds=30)

Kind = Literal["lost", "doubled"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One effect too few or too many. ``event`` is the sale's event; None for what came from no sale."""

    kind: Kind
    what: str
    subject: str
    event: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} of {self.subject}"


@dataclass(frozen=True, slots=True)
class Input:
    """What went in: acknowledged sales by event id, the settings that were acknowledged, and the schedule's time.

    The schedule ticks each minute after ``scheduled_since``, when the plugin was activated. What was to tick until
    ``looked_at``, when the effects were counted, has had ``TICK_LATE`` to do so.
    """

    sales: Mapping[str, Sale]
    settings: Iterable[int] = ()
    scheduled_since: datetime | None = None
    looked_at: datetime | None = None


@dataclass(slots=True)
class Verdict:
    """All differences."""

    differences: list[Difference] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        return sum(found.kind == kind for found in self.differences)

    @property
    def lost(self) -> int:
        return self.count("lost")

    @property
    def doubled(self) -> int:
        return self.count("doubled")

    def exactly_one(self, found: int, what: str, subject: str, event: str | None = None) -> None:
        """Note what differs from one effect: its lack, or each one beyond the first."""
        self.exactly(1, found, what, subject, event)

    def exactly(self, wanted: int, found: int, what: str, subject: str, event: str | None = None) -> None:
        """Note each effect below or beyond ``wanted``."""
        kind: Kind = "lost" if found < wanted else "doubled"
        self.differences += [Difference(kind, what, subject, event)] * abs(found - wanted)


def judge(sent: Input, found: Findings) -> Verdict:
    """Compare what was found with what must have come of the input."""
    verdict = Verdict()
    for event, sale in sent.sales.items():
        _judge_points(verdict, event, sale, found)
        verdict.exactly_one(found.calls[event], "row of the calling plugin", event, event)
        verdict.exactly_one(len(found.keys.get(event, ())), "call of the receiver", event, event)
        _judge_failing(verdict, event, found)
    _judge_balances(verdict, sent.sales.values(), found.balances)
    for setting in sent.settings:
        # Published at least once; readers recognise a repetition by its revision.
        verdict.exactly_one(min(found.settings[setting], 1), "publication", f"setting {setting}")
    _judge_ticks(verdict, sent, found.ticks)
    _judge_strangers(verdict, sent, found)
    return verdict


def _judge_points(verdict: Verdict, event: str, sale: Sale, found: Findings) -> None:
    wanted = int(points_of(sale) != 0)
    verdict.exactly(wanted, found.movements[sale["id"]], "movement of points", sale["id"], event)
    verdict.exactly(wanted, len(found.announced.get(sale["id"], ())), "announcement of points", sale["id"], event)


def _judge_failing(verdict: Verdict, event: str, found: Findings) -> None:
    effects, letters = found.effects[event], min(found.letters[event], 1)  # dead letters are published at least once
    match fate(event):
        case "effect":
            verdict.exactly(1, effects, "effect of the failing plugin", event, event)
            verdict.exactly(0, letters, "undeserved dead letter", event, event)
        case "dead letter":
            verdict.exactly(0, effects, "effect of a hook that always fails", event, event)
            verdict.exactly(1, letters, "dead letter", event, event)
        case "either":
            verdict.exactly_one(effects + letters, "effect or dead letter", event, event)


def _judge_balances(verdict: Verdict, sales: Iterable[Sale], balances: Mapping[str, int]) -> None:
    """One difference for each customer whose points are wrong, whatever the amount."""
    expected = expected_points(sales)
    for customer in expected.keys() | balances.keys():
        wanted, points = expected.get(customer, 0), balances.get(customer, 0)
        if points != wanted:
            kind: Kind = "lost" if points < wanted else "doubled"
            verdict.differences.append(Difference(kind, f"{points - wanted:+d} points", customer))


def _judge_ticks(verdict: Verdict, sent: Input, ticks: Counter[datetime]) -> None:
    if sent.scheduled_since is None or sent.looked_at is None:
        return
    for planned, count in ticks.items():
        due = sent.scheduled_since <= planned <= sent.looked_at
        verdict.exactly(int(due), count, "tick" if due else "tick before its time", planned.isoformat())
    # The tick right after the activation may come or not: the activation takes a moment.
    wanted = sent.scheduled_since.replace(second=0, microsecond=0) + 2 * MINUTE
    while wanted <= sent.looked_at - TICK_LATE:
        if not ticks[wanted]:
            verdict.differences.append(Difference("lost", "tick", wanted.isoformat()))
        wanted += MINUTE


def _judge_strangers(verdict: Verdict, sent: Input, found: Findings) -> None:
    """Effects of what was never sent."""
    ids = {sale["id"] for sale in sent.sales.values()}
    for what, counted, known in (
        ("movement of points", found.movements, ids),
        ("row of the calling plugin", found.calls, sent.sales.keys()),
        ("effect of the failing plugin", found.effects, sent.sales.keys()),
        ("dead letter", found.letters, sent.sales.keys()),
    ):
        for subject in counted.keys() - known:
            verdict.exactly(0, counted[subject], f"{what} of nothing that was sent", subject)
