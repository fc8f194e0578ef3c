"""A contender that is careless with one event, to see that nobody believes it.

Run as a contender is, with ``lose``, ``double`` or ``exchange`` as the workload's database address.
"""

import asyncio

from bench.contenders.probe import Probe
from bench.contenders.raw_loop import run
from bench.contenders.task import given_task

VICTIM, OTHER = "e-7", "e-8"


class CarelessProbe(Probe):
    """``lose``: one event is not handled; ``double``: one is handled twice; ``exchange``: one in another's place."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    def handled(self, event: str, created: str) -> None:
        if event != VICTIM:
            super().handled(event, created)
        elif self._fault == "double":
            super().handled(event, created)
            super().handled(event, created)
        elif self._fault == "exchange":
            super().handled(OTHER, created)


if __name__ == "__main__":
    task = given_task()
    asyncio.run(run(task, CarelessProbe(task.dsn)))
