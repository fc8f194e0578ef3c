"""How a contender tells what it measured: one line of JSON on standard output."""

import json
import sys
import time


class Stopwatch:
    """Runs from the first event to the ``count``-th."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._count = count
        self._began = 0.0

    def event(self) -> bool:
        """Count one event that has been handled; True with the last one."""
        if self._left == self._count:
            self._began = time.perf_counter()
        self._left -= 1
        return self._left == 0

    def report(self) -> None:
        """Print the rate. The first event starts the clock, so it is not counted."""
        seconds = time.perf_counter() - self._began
        print("\n" + json.dumps({"per_second": (self._count - 1) / seconds}))
        sys.stdout.flush()
