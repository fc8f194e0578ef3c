"""The order of events within a lane, and what a lane gives away at a time."""

from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from outlet._frames import MAX_PAYLOAD
from outlet.manifest import Limits
from services.common.directory import Breaker, Installation, Library, Variant
from services.common.events import DomainEvent
from services.common.tracing import OFF
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.lanes import MOST_PASSED_OVER, HookRun, Lane
from services.runtime.sandbox import RunningCall
from tests.runtime.installations import installation

ALL = (1_000, 1_000_000)


class Endings:
    """Notes what a lane asks for."""

    tracing = OFF

    def __init__(self, found: Installation) -> None:
        self.found: Installation | None = found
        self.alone: list[HookRun] = []
        self.held: list[HookRun] = []
        self.woken = 0
        self.sharing = True
        self.emptied = 0

    def installation(self, _: str) -> Installation | None:
        return self.found

    def call_alone(self, run: HookRun) -> None:
        self.alone.append(run)

    def hold(self, lane: Lane) -> None:
        self.held += lane.take_untried()

    def waiting(self, _: Lane) -> None:
        self.woken += 1

    def empty(self, _: Lane) -> None:
        self.emptied += 1

    def shares(self, _: Lane) -> bool:
        return self.sharing

    def open(self, run: HookRun) -> RunningCall:
        raise AssertionError(run)

    def ended(self, run: HookRun, outcome: Exception | None, seconds: float) -> None:
        raise AssertionError(run, outcome, seconds)


class Finished:
    """Stands for the offsets of a partition."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def finish(self, offset: int) -> None:
        self.offsets.append(offset)


@pytest.fixture
def endings() -> Endings:
    return Endings(installation())


@pytest.fixture
def lane(endings: Endings) -> Lane:
    assert endings.found is not None
    return Lane(endings.found, endings, 5.0)


def arrival(number: int, key: str = "k", *, size: int = 2, finished: Any = None) -> Arrival:
    event = DomainEvent(
        f"e{number}", "sale.created", "urn:pos", "2026-11-01T12:00:00Z", "acme", "s1", b"{" + b" " * (size - 2) + b"}"
    )
    record: ConsumerRecord[bytes, bytes] = ConsumerRecord(
        "outlet.events.sale", 0, number, 0, 0, key.encode(), event.data, None, 0, 0, event.headers()
    )
    offsets: Any = finished or Finished()
    return Arrival(record, event, offsets)


def ids(runs: Any) -> list[str]:
    return [run.event.id for run in runs]


def test_events_of_one_key_are_given_one_after_the_other_and_keys_together(lane: Lane, endings: Endings) -> None:
    for number, key in enumerate(("a", "a", "b", "a")):
        lane.submit(arrival(number, key))
    first = lane.take(*ALL)
    assert ids(first) == ["e0", "e2"]
    assert lane.take(*ALL) == []
    first[1].finish()
    assert (lane.take(*ALL), endings.woken) == ([], 0)
    first[0].finish()
    assert endings.woken == 1
    second = lane.take(*ALL)
    assert ids(second) == ["e1"]
    second[0].finish()
    (last,) = lane.take(*ALL)
    assert (last.event.id, endings.emptied) == ("e3", 0)
    last.finish()
    assert (len(lane), endings.emptied) == (0, 1)


def test_no_more_is_given_than_was_asked_for(lane: Lane) -> None:
    for number in range(10):
        lane.submit(arrival(number, f"k{number}", size=100))
    assert len(lane.take(3, 1_000_000)) == 3
    assert len(lane.take(100, 250)) == 3
    assert len(lane.take(*ALL)) == 4


def test_an_event_too_large_to_share_a_frame_is_called_by_itself(lane: Lane, endings: Endings) -> None:
    lane.submit(arrival(1, "a", size=MAX_PAYLOAD + 1))
    lane.submit(arrival(2, "b"))
    assert ids(lane.take(*ALL)) == ["e2"]
    assert ids(endings.alone) == ["e1"]


def test_events_of_an_installation_that_was_deactivated_are_finished_without_a_call(
    lane: Lane, endings: Endings
) -> None:
    finished = Finished()
    for number in range(3):
        lane.submit(arrival(number, finished=finished))
    for each in range(3):
        assert each not in finished.offsets
    arrivals_searched = finished.offsets
    endings.found = None
    assert lane.take(*ALL) == []
    assert (len(lane), arrivals_searched) == (0, [0, 1, 2])


def test_a_lane_goes_by_the_newest_revision(lane: Lane, endings: Endings) -> None:
    assert endings.found is not None
    endings.found = msgspec.structs.replace(endings.found, revision=2, config={"rate": 2})
    lane.submit(arrival(1))
    lane.take(*ALL)
    assert (lane.scope.revision, lane.installation.config) == (2, {"rate": 2})


def test_what_waits_can_be_taken_out_and_what_runs_stays(lane: Lane, endings: Endings) -> None:
    for number, key in enumerate(("a", "a", "b", "b", "c")):
        lane.submit(arrival(number, key))
    (running,) = lane.take(1, 1_000)
    assert lane.untried == 4
    assert sorted(ids(lane.take_untried())) == ["e1", "e2", "e3", "e4"]
    assert (lane.untried, lane.take(*ALL), endings.emptied) == (0, [], 0)
    running.finish()
    assert endings.emptied == 1
    lane.submit(arrival(9, "b"))
    assert ids(lane.take(*ALL)) == ["e9"]


@pytest.mark.parametrize(
    ("state", "taken", "held"),
    [
        ({"status": "active"}, 2, 0),
        ({"status": "inactive", "backlog": "drain"}, 2, 0),
        ({"status": "inactive", "backlog": "pause"}, 0, 2),
        ({"status": "error", "breaker": Breaker(state="open")}, 0, 2),
        ({"status": "error", "breaker": Breaker(state="half_open", probes=1)}, 0, 2),
        ({"status": "error"}, 0, 0),
        ({"status": "inactive"}, 0, 0),
        ({"status": "uninstalling"}, 0, 0),
    ],
)
def test_what_becomes_of_events_depends_on_the_state_of_their_installation(
    state: dict[str, Any], taken: int, held: int, lane: Lane, endings: Endings
) -> None:
    for number in range(2):
        lane.submit(arrival(number, f"k{number}"))
    assert endings.found is not None
    endings.found = msgspec.structs.replace(endings.found, **state)
    assert (len(lane.take(*ALL)), len(endings.held)) == (taken, held)


@pytest.mark.parametrize(("sharing", "concurrency", "hooks"), [(True, None, 4), (False, None, 1), (True, 2, 1)])
def test_more_hooks_run_at_a_time_when_they_share_and_the_manifest_does_not_say_how_many(
    endings: Endings, sharing: bool, concurrency: int | None, hooks: int
) -> None:
    found = installation()
    manifest = msgspec.structs.replace(found.manifest, limits=Limits(concurrency=concurrency))
    endings.sharing = sharing
    assert Lane(msgspec.structs.replace(found, manifest=manifest), endings, 5.0).per_slot == hooks


@pytest.mark.parametrize("change", ["digest", "libraries"])
def test_events_of_an_installation_that_got_another_version_leave_the_lane_of_the_former_one(
    lane: Lane, endings: Endings, change: str
) -> None:
    """The lane's turns are in the former version's guest: none of its events may run there any more."""
    assert endings.found is not None
    for number, key in enumerate(("a", "b")):
        lane.submit(arrival(number, key))
    library = Library(plugin_id="money", version="1.0.0", digest="sha256:11")
    changes: dict[str, Any] = {change: (library,) if change == "libraries" else "x", "revision": 2}
    endings.found = msgspec.structs.replace(endings.found, **changes)
    assert lane.take(*ALL) == []
    assert (ids(endings.held), len(lane)) == (["e0", "e1"], 0)


def test_events_wait_while_their_installation_is_updated(lane: Lane, endings: Endings) -> None:
    assert endings.found is not None
    lane.submit(arrival(1))
    endings.found = msgspec.structs.replace(endings.found, updating=True, revision=2)
    assert lane.take(*ALL) == []
    assert ids(endings.held) == ["e1"]


def varied_lane(endings: Endings) -> Lane:
    """A lane of an installation that is otherwise in the stores s2 and s3."""
    variants = (
        Variant(place="store:s2", stores=("s2",), config={"rate": 2}, grants=("customer:personal-data",)),
        Variant(place="store:s3", stores=("s3",), config={"rate": 3}),
    )
    endings.found = msgspec.structs.replace(installation(config={"rate": 1}), variants=variants)
    return Lane(endings.found, endings, 5.0)


def sale_in(store: str, number: int, key: str, *, size: int = 2) -> Arrival:
    made = arrival(number, key, size=size)
    data = made.event.data if size > 2 else b'{"customer": {"email": "a@b.c"}}'
    made.event = msgspec.structs.replace(made.event, store=store, data=data)
    return made


def told(lane: Lane) -> Any:
    return msgspec.msgpack.decode(lane.scope.payload)["config"]["rate"]


def test_events_of_stores_that_differ_are_given_apart_each_with_its_own_settings(endings: Endings) -> None:
    lane = varied_lane(endings)
    for number, store in enumerate(("s1", "s2", "s1", "s3", "s2", "elsewhere")):
        lane.submit(sale_in(store, number, f"k{number}"))
    given = []
    while runs := lane.take(*ALL):
        given.append((ids(runs), told(lane), lane.scope.variant))
        assert {run.invocation.installation.config["rate"] for run in runs} == {told(lane)}
    assert given == [
        (["e0", "e2", "e5"], 1, ""),
        (["e1", "e4"], 2, "store:s2"),
        (["e3"], 3, "store:s3"),
    ]


def test_events_of_one_key_keep_their_order_when_their_stores_differ(endings: Endings) -> None:
    lane = varied_lane(endings)
    for number, store in enumerate(("s1", "s2", "s1", "s2")):
        lane.submit(sale_in(store, number, "k"))
    seen = []
    while runs := lane.take(*ALL):
        (run,) = runs
        seen.append((run.event.id, run.invocation.installation.variant))
        run.finish()
    assert seen == [("e0", ""), ("e1", "store:s2"), ("e2", ""), ("e3", "store:s2")]
    assert endings.emptied == 1


def test_personal_data_is_in_the_events_of_the_store_that_granted_it_and_in_no_others(endings: Endings) -> None:
    lane = varied_lane(endings)
    for number, store in enumerate(("s2", "s1", "s3", "s2")):
        lane.submit(sale_in(store, number, f"k{number}"))
    runs = [run for _ in range(3) for run in lane.take(*ALL)]
    assert {run.event.store: b"a@b.c" in run.event.data for run in runs} == {"s1": False, "s2": True, "s3": False}


def test_a_lane_has_more_to_give_when_all_that_is_alike_must_go_alone(endings: Endings) -> None:
    lane = varied_lane(endings)
    lane.submit(sale_in("s2", 0, "a", size=MAX_PAYLOAD + 1))
    lane.submit(sale_in("s1", 1, "b"))
    assert ids(lane.take(*ALL)) == ["e1"]
    (alone,) = endings.alone
    assert alone.invocation.installation.variant == "store:s2"


def test_only_so_many_events_are_passed_over_at_a_time(endings: Endings) -> None:
    lane = varied_lane(endings)
    lane.submit(sale_in("s1", 0, "first"))
    for number in range(MOST_PASSED_OVER):
        lane.submit(sale_in("s2", 1 + number, f"k{number}"))
    lane.submit(sale_in("s1", 999, "last"))
    assert ids(lane.take(*ALL)) == ["e0"]
    assert len(lane.take(*ALL)) == MOST_PASSED_OVER
    assert ids(lane.take(*ALL)) == ["e999"]


def test_what_runs_keeps_the_installation_that_it_was_given_out_as(endings: Endings) -> None:
    lane = varied_lane(endings)
    lane.submit(sale_in("s2", 0, "a"))
    (running,) = lane.take(*ALL)
    assert endings.found is not None
    endings.found = msgspec.structs.replace(endings.found, revision=2, variants=())
    lane.submit(sale_in("s2", 1, "b"))
    (following,) = lane.take(*ALL)
    assert [run.invocation.installation.config["rate"] for run in (running, following)] == [2, 1]
