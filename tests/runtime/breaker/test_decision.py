"""When a breaker opens, tries again and closes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.directory import Breaker
from services.runtime.breaker.decision import Decision, Policy, Tally, decide

NOW = datetime(2026, 2, 1, 10, 0, tzinfo=UTC)
POLICY = Policy(windows=(10.0, 60.0), minimum_runs=20, error_rate=0.5, open_seconds=30, probes=5)
CLOSED = Breaker(revision=4)
OPEN = Breaker(state="open", until=(NOW + timedelta(seconds=30)).isoformat(), probes=5, revision=5)
HALF_OPEN = Breaker(state="half_open", probes=5, revision=6)

tallies = st.integers(0, 1_000).flatmap(lambda runs: st.builds(Tally, st.just(runs), st.integers(0, runs)))


def closed(short: Tally, long: Tally) -> Decision | None:
    return decide(CLOSED, {10.0: short, 60.0: long}, long, NOW, POLICY)


def half_open(probes: Tally) -> Decision | None:
    return decide(HALF_OPEN, {10.0: probes, 60.0: probes}, probes, NOW, POLICY)


@pytest.mark.parametrize(
    ("short", "long", "opens"),
    [
        (Tally(20, 10), Tally(20, 10), True),
        (Tally(20, 9), Tally(20, 9), False),
        (Tally(19, 19), Tally(19, 19), False),  # too few to tell
        (Tally(2, 2), Tally(20, 12), True),  # a quiet plugin
        (Tally(40, 39), Tally(4_000, 39), True),  # a busy one that has just broken
        (Tally(0, 0), Tally(0, 0), False),
    ],
)
def test_a_closed_breaker_opens_on_the_error_rate_of_either_window(short: Tally, long: Tally, opens: bool) -> None:
    decision = closed(short, long)
    assert (decision is not None and decision.state == "open") == opens


def test_the_reason_says_what_was_counted() -> None:
    assert closed(Tally(24, 12), Tally(30, 12)) == Decision("open", "12 of 24 events failed within 10 s")


@given(tallies, tallies)
def test_it_never_opens_on_too_few_runs_or_a_good_rate(short: Tally, long: Tally) -> None:
    decision = closed(short, long)
    judged = [tally for tally in (short, long) if tally.runs >= POLICY.minimum_runs]
    assert (decision is not None) == any(tally.error_rate >= POLICY.error_rate for tally in judged)


@given(tallies, st.integers(-3_600, 3_600))
def test_an_open_breaker_waits_for_its_time_and_for_nothing_else(since: Tally, seconds: int) -> None:
    until = datetime.fromisoformat(OPEN.until or "")
    decision = decide(OPEN, {10.0: since, 60.0: since}, since, until + timedelta(seconds=seconds), POLICY)
    assert (None if decision is None else decision.state) == ("half_open" if seconds >= 0 else None)


@pytest.mark.parametrize(
    ("probes", "state"),
    [
        (Tally(0, 0), None),
        (Tally(4, 0), None),
        (Tally(5, 0), "closed"),
        (Tally(5, 2), "closed"),
        (Tally(5, 3), "open"),
        (Tally(2, 2), None),  # three more could still make it 2 of 5
        (Tally(3, 3), "open"),
        (Tally(100, 49), "closed"),
        (Tally(100, 50), "open"),
    ],
)
def test_a_half_open_breaker_is_decided_by_enough_probes(probes: Tally, state: str | None) -> None:
    decision = half_open(probes)
    assert (None if decision is None else decision.state) == state


@given(tallies)
def test_enough_probes_always_decide_and_only_success_closes(probes: Tally) -> None:
    decision = half_open(probes)
    if probes.runs >= POLICY.probes:
        assert decision is not None
    if decision is not None and decision.state == "closed":
        assert probes.runs >= POLICY.probes
        assert probes.error_rate < POLICY.error_rate


@given(st.sampled_from([CLOSED, OPEN, HALF_OPEN]), tallies, tallies)
def test_every_decision_changes_the_state(breaker: Breaker, short: Tally, long: Tally) -> None:
    decision = decide(breaker, {10.0: short, 60.0: long}, long, NOW, POLICY)
    assert decision is None or decision.state != breaker.state
