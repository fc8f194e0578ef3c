"""Counts what a contender has handled, in its own process, and answers whoever measures it.

Commands come line by line on standard input, answers go as lines of JSON to what was standard output:

- ``begin``, or ``begin timed``: count from zero; answered by ``{"begun": true}``.
- ``expect N``: answered by the count, once that is N or more.
- ``tell``: answered by the count as it is.
"""

import json
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zlib import crc32

from bench.figures import percentile


class Probe:
    """One per process. Its cost for each event is the same for every contender."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # whatever else is printed is for the log
        self._lock = threading.Lock()
        self._begin(timed=False)
        threading.Thread(target=self._listen, daemon=True).start()

    def assigned(self, partitions: Iterable[int]) -> None:
        """These partitions of the topic are read from now on, and no others."""
        self._say({"assigned": sorted(partitions)})

    def handled(self, event: str, created: str) -> None:
        """All that the event ``event`` causes is done. ``created``: when it was made, RFC 3339."""
        now = time.monotonic()
        if self._timed:
            self._latencies.append(time.time() - datetime.fromisoformat(created).timestamp())
        if self._count == 0:
            self._began = now
        self._ended = now
        self._digest += crc32(event.encode())
        self._count += 1
        if self._count == self._expected:
            self._report()

    def _begin(self, *, timed: bool) -> None:
        self._timed = timed
        self._count = self._digest = 0
        self._began = self._ended = 0.0
        self._expected: int | None = None
        self._latencies: array[float] = array("d")

    def _listen(self) -> None:
        for line in sys.stdin:
            match line.split():
                case ["begin", *timed]:
                    self._begin(timed=bool(timed))
                    self._say({"begun": True})
                case ["expect", count]:
                    self._expect(int(count))
                case ["tell"]:
                    self._say(self._found())
        os._exit(0)  # whoever measured is through, or gone

    def _expect(self, count: int) -> None:
        self._expected = count
        if self._count >= count:
            self._report()

    def _report(self) -> None:
        with self._lock:  # the two who may notice that the count is reached
            due, self._expected = self._expected is not None, None
        if due:
            self._say(self._found())

    def _found(self) -> dict[str, Any]:
        found = {"handled": self._count, "digest": self._digest, "began": self._began, "ended": self._ended}
        if self._latencies:
            times = sorted(self._latencies)
            found |= {"p50": percentile(times, 0.50), "p99": percentile(times, 0.99)}
        return found

    def _say(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
