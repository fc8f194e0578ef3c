"""The last minute of an installation: each summary once, and nothing for longer than the window."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.breaker.decision import Tally
from services.runtime.breaker.windows import MOST_HOOKS, Window
from tests.runtime.breaker.summaries import hook, summary

AT = 1_800_000_000.0


def test_a_summary_that_comes_again_is_counted_once() -> None:
    window = Window(60)
    for sequence in (1, 2, 1, 2, 3):
        window.add(summary("i", sequence, hook(10, 1)), AT)
    window.add(summary("i", 1, hook(5), worker_id="w2"), AT)
    assert window.tally(AT - 60) == Tally(35, 3)
    total, _ = window.statistics(AT - 60)
    assert (total.runs, total.errors) == (35, 3)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = Window(60)
    window.add(summary("i", 1, hook(1, 1)), AT)
    window.add(summary("i", 2, hook(2)), AT + 30)
    window.forget(AT + 75)
    assert window.tally(0) == Tally(2, 0)
    assert not window.empty
    window.forget(AT + 120)
    assert (window.empty, window.statistics(0)[0].runs) == (True, 0)


def test_a_shorter_window_has_only_the_last_seconds() -> None:
    window = Window(60)
    for second in range(40):
        window.add(summary("i", second, hook(1)), AT + second)
    assert window.tally(AT + 30).runs == 10


def test_runs_that_began_before_a_change_are_not_held_against_what_came_after() -> None:
    window = Window(60)
    window.add(summary("i", 1, hook(10, 10), revision=3), AT)
    window.add(summary("i", 2, hook(4, 1), revision=5), AT)
    assert window.tally(0, revision=4) == Tally(4, 1)


def test_an_event_that_always_fails_counts_once_against_a_plugin_and_all_runs_are_told() -> None:
    window = Window(60)
    retried = msgspec.structs.replace(hook(24, 15), retries=14, failed_retries=13)
    window.add(summary("i", 1, retried), AT)
    total, _ = window.statistics(0)
    assert (window.tally(0), window.since_revision(0)) == (Tally(10, 2), Tally(24, 15))
    assert (total.runs, total.errors) == (24, 15)


def test_routes_are_told_but_do_not_count_against_a_plugin() -> None:
    window = Window(60)
    window.add(summary("i", 1, hook(3, 1), hook(50, 50, name="GET /points/{id}")), AT)
    total, hooks = window.statistics(0)
    assert (window.tally(0), total.runs) == (Tally(3, 1), 3)
    assert {(each.hook, each.runs, each.errors) for each in hooks} == {
        ("GET /points/{id}", 50, 50),
        ("sale.created", 3, 1),
    }


def test_latency_is_told_by_hook_and_store_and_for_all() -> None:
    window = Window(60)
    fast, slow = hook(98, store="s1", seconds=0.001), hook(2, store="s2", seconds=1.0)
    window.add(summary("i", 1, fast, slow), AT)
    total, hooks = window.statistics(0)
    assert total.p50_ms is not None
    assert total.p99_ms is not None
    assert 0.9 < total.p50_ms < 1.1
    assert 900 < total.p99_ms < 1_100
    assert {each.store: each.p50_ms for each in hooks}["s2"] == total.p99_ms


def test_only_the_busiest_are_listed() -> None:
    window = Window(60)
    hooks = [hook(number + 1, store=f"s{number}") for number in range(MOST_HOOKS + 10)]
    window.add(summary("i", 1, *hooks), AT)
    total, told = window.statistics(0)
    assert total.runs == sum(each.runs for each in hooks)
    assert (len(told), told[0].runs, told[-1].runs) == (MOST_HOOKS, MOST_HOOKS + 10, 11)


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 5), st.integers(0, 5)), max_size=40), st.data())
def test_any_repetition_counts_as_none(parts: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """A killed process starts again at a record it had read before, and reads on from there."""
    once, again = Window(60), Window(60)
    sent = [
        (summary("i", number, hook(runs + errors, errors)), AT + second)
        for number, (second, runs, errors) in enumerate(sorted(parts))
    ]
    for each, at in sent:
        once.add(each, at)
    stop = data.draw(st.integers(0, len(sent)))
    back = data.draw(st.integers(0, stop))
    for each, at in sent[:stop] + sent[back:]:
        again.add(each, at)
    assert once.tally(0) == again.tally(0)
    assert once.statistics(0) == again.statistics(0)
