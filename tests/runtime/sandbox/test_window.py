"""What the worker holds a guest to that has many events at a time."""

from typing import Any

import pytest

from outlet._frames import FrameError
from services.runtime.sandbox.window import HookWindow


def window(events: int, at_once: int) -> HookWindow:
    found = HookWindow()
    deliveries: Any = [f"event {number}" for number in range(events)]
    found.add(1, deliveries, at_once, 10.0)
    return found


def test_an_events_time_begins_when_its_turn_has_come() -> None:
    found = window(3, 1)
    assert found.end(1, 12.0)[1] == 2.0
    assert found.oldest() == 12.0
    assert found.end(2, 12.5)[1] == 0.5
    assert (found.oldest(), len(found)) == (12.5, 1)


@pytest.mark.parametrize("number", [3, 4, 99], ids=["its turn has not come", "ended never sent", "unknown"])
def test_the_end_of_an_event_that_cannot_have_begun_breaks_the_protocol(number: int) -> None:
    with pytest.raises(FrameError, match=f"hook {number}"):
        window(3, 2).end(number, 11.0)


def test_an_event_ends_once() -> None:
    found = window(2, 2)
    found.end(1, 11.0)
    with pytest.raises(FrameError):
        found.end(1, 11.0)


def test_when_the_guest_is_gone_everything_in_it_is_given_back() -> None:
    found = window(3, 2)
    found.end(2, 11.0)
    assert list(found.clear()) == [1, 3]
    assert (len(found), found.oldest()) == (0, None)
