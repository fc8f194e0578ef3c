"""A library that repeats itself is heard once in a while; everybody else always."""

import logging

from services.common.repetitions import MOST_KNOWN, SECONDS, Repetitions


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def line(
    template: str, *arguments: object, name: str = "aiokafka.conn", level: int = logging.ERROR
) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, template, arguments, None)


def test_like_lines_of_a_library_are_held_back_and_counted() -> None:
    clock = Clock()
    repetitions = Repetitions(clock)
    assert repetitions.filter(line("Unable to connect to node %s", 1))
    assert not any(repetitions.filter(line("Unable to connect to node %s", node)) for node in range(5))
    clock.now = SECONDS
    again = line("Unable to connect to node %s", 7)
    assert repetitions.filter(again)
    assert again.getMessage() == "Unable to connect to node 7 (and 5 more like it)"
    clock.now = 2 * SECONDS
    alone = line("Unable to connect to node %s", 8)
    assert repetitions.filter(alone)
    assert alone.getMessage() == "Unable to connect to node 8"


def test_what_differs_in_template_or_level_is_not_alike() -> None:
    repetitions = Repetitions(Clock())
    assert repetitions.filter(line("one"))
    assert repetitions.filter(line("another"))
    assert repetitions.filter(line("one", level=logging.WARNING))
    first_lines = "Future exception was never retrieved"
    assert repetitions.filter(line(f"{first_lines}\nfuture: 1", name="asyncio"))
    assert not repetitions.filter(line(f"{first_lines}\nfuture: 2", name="asyncio"))


def test_our_own_lines_all_pass() -> None:
    repetitions = Repetitions(Clock())
    assert all(repetitions.filter(line("plugin failed", name="services.runtime.reporting")) for _ in range(3))


def test_a_library_that_says_ever_new_things_does_not_fill_the_memory() -> None:
    repetitions = Repetitions(Clock())
    for number in range(2 * MOST_KNOWN):
        assert repetitions.filter(line(f"line {number}"))
    assert len(repetitions._known) == MOST_KNOWN
    assert not repetitions.filter(line(f"line {2 * MOST_KNOWN - 1}"))
