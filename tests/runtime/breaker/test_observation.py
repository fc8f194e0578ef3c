"""What follows from summaries and the directory, second by second."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.common.directory import Breaker, Directory, Installation
from services.common.reports import encode_summary
from services.runtime.breaker.decision import Policy
from services.runtime.breaker.observation import REPEAT_SECONDS, Observation
from tests.runtime.breaker.summaries import hook, summary
from tests.runtime.installations import installation

NOW = 1_800_000_000.0
POLICY = Policy(minimum_runs=10, open_seconds=30, probes=3)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class Scene:
    """One installation and those who watch it. ``change`` is what the registry does."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.found = installation(revision=1)
        self.directory.put(self.found)
        self.observation = Observation(self.directory, POLICY)
        self._sequence = 0

    def change(self, **members: Any) -> Installation:
        self.found = msgspec.structs.replace(self.found, revision=self.found.revision + 1, **members)
        self.directory.put(self.found)
        return self.found

    def breaker(self, state: Any, now: float = NOW) -> None:
        breaker = Breaker(state=state, until=moment(now + 30), probes=3, revision=self.found.revision + 1)
        self.change(breaker=breaker, status="active" if state == "closed" else "error")

    def ran(self, runs: int, errors: int, now: float = NOW, revision: int | None = None) -> None:
        self._sequence += 1
        at = self.found.revision if revision is None else revision
        value = encode_summary(summary(self.found.id, self._sequence, hook(runs, errors), revision=at))
        self.observation.observe(value, now, now)

    def states(self, now: float = NOW) -> list[tuple[int, str]]:
        return [(change.revision, change.state) for change in self.observation.changes(now)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_breaker_opens_tries_again_and_closes(scene: Scene) -> None:
    scene.ran(10, 6)
    assert scene.states() == [(0, "open")]
    scene.breaker("open")
    assert scene.states(NOW + 29) == []
    assert scene.states(NOW + 30) == [(2, "half_open")]
    scene.breaker("half_open", NOW + 30)
    assert scene.states(NOW + 31) == []
    scene.ran(3, 0, NOW + 32)
    assert scene.states(NOW + 32) == [(3, "closed")]
    scene.breaker("closed", NOW + 33)
    assert scene.states(NOW + 34) == []


def test_probes_that_fail_open_it_again(scene: Scene) -> None:
    scene.breaker("half_open")
    scene.ran(3, 3)
    assert scene.states() == [(2, "open")]


def test_trial_runs_of_a_plugin_that_seldom_runs_are_not_forgotten(scene: Scene) -> None:
    scene.breaker("half_open")
    for minute in range(3):
        now = NOW + 300 * minute
        assert scene.states(now) == []
        scene.ran(1, 0, now)
        assert len(list(scene.observation.statistics(now))) == 1
        assert len(list(scene.observation.statistics(now + 200))) == 1
        assert list(scene.observation.statistics(now + 205)) == []
    assert scene.states(NOW + 900) == [(2, "closed")]


def test_runs_that_began_before_the_breaker_changed_decide_nothing(scene: Scene) -> None:
    scene.breaker("half_open")
    scene.ran(50, 0, revision=1)
    assert scene.states() == []
    scene.breaker("closed")
    scene.ran(50, 50, revision=2)
    assert scene.states() == []
    scene.ran(50, 50)
    assert [state for _, state in scene.states()] == ["open"]


def test_a_decision_is_told_again_until_the_directory_shows_it(scene: Scene) -> None:
    scene.ran(10, 10)
    assert scene.states() == [(0, "open")]
    scene.ran(1, 1, NOW + 1)  # its reason is another one now
    assert scene.states(NOW + 1) == []
    assert scene.states(NOW + REPEAT_SECONDS + 1) == [(0, "open")]


def test_a_process_that_starts_again_goes_on_from_what_the_directory_shows(scene: Scene) -> None:
    scene.breaker("open")
    scene.observation = Observation(scene.directory, POLICY)
    assert scene.states(NOW + 31) == [(2, "half_open")]


@pytest.mark.parametrize("status", ["inactive", "error", "installing", "uninstalling"])
def test_only_what_is_active_has_a_breaker_to_open(scene: Scene, status: str) -> None:
    scene.change(status=status)
    scene.ran(10, 10)
    assert scene.states() == []


def test_summaries_of_long_ago_and_of_clocks_ahead_do_no_harm(scene: Scene) -> None:
    late = encode_summary(summary(scene.found.id, 1, hook(100, 100), worker_id="late", revision=1))
    scene.observation.observe(late, NOW - 61, NOW)
    assert scene.states() == []
    ahead = encode_summary(summary(scene.found.id, 1, hook(100, 100), worker_id="ahead", revision=1))
    scene.observation.observe(ahead, NOW + 3_600, NOW)
    assert scene.states() == [(0, "open")]
    assert [each.total.runs for each in scene.observation.statistics(NOW + 120)] == [0]


def test_statistics_are_told_while_there_are_some_and_once_when_there_are_none(scene: Scene) -> None:
    scene.ran(10, 1)
    (told,) = scene.observation.statistics(NOW + 1)
    assert (told.installation_id, told.total.runs, told.recent.runs, told.seconds) == (scene.found.id, 10, 10, 60)
    (told,) = scene.observation.statistics(NOW + 30)
    assert (told.total.runs, told.recent.runs) == (10, 0)
    (told,) = scene.observation.statistics(NOW + 90)
    assert (told.total.runs, told.hooks, told.at) == (0, (), moment(NOW + 90))
    assert list(scene.observation.statistics(NOW + 91)) == []


@pytest.mark.parametrize("value", [None, b"rubbish", b"{}", b"null"])
def test_what_is_no_summary_is_refused(scene: Scene, value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r".+"):
        scene.observation.observe(value, NOW, NOW)


def test_a_histogram_of_unknown_buckets_is_refused(scene: Scene) -> None:
    wrong = msgspec.structs.replace(hook(1), latency={9_999: 1})
    with pytest.raises(ValueError, match="histogram"):
        scene.observation.observe(encode_summary(summary(scene.found.id, 1, wrong)), NOW, NOW)
