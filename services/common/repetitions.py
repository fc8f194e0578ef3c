"""Keeps libraries from saying the same thing thousands of times a minute, as they do while a broker is away."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

LIBRARIES = frozenset({"aiokafka", "asyncio", "faust", "mode"})
SECONDS = 10.0
MOST_KNOWN = 256


@dataclass(slots=True)
class _Line:
    said_at: float
    held_back: int = 0


class Repetitions(logging.Filter):
    """Lets one of many like lines of a library through each :data:`SECONDS`, with how many were held back before it.

    Lines are alike when the library wrote them at the same level from the same template.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._known: dict[tuple[str, int, str], _Line] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        now, template = self._now(), str(record.msg)
        key = record.name, record.levelno, template.partition("\n")[0]
        line = self._known.pop(key, None)
        if line is not None and now - line.said_at < SECONDS:
            line.held_back += 1
            self._known[key] = line
            return False
        if line is not None and line.held_back:
            record.msg = f"{template} (and {line.held_back} more like it)"
        self._known[key] = _Line(now)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]  # the one that was not met for longest
        return True
