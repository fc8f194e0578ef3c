"""Keeps a plugin that is slow, hangs or is flooded from holding up the events of all others."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.lanes import Lane

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
LOOKS = 4
"""Looks in a row at which one is slow before it goes: a moment in which nothing ends says little of a plugin."""


class Parking:
    """Looks for installations that would need longer than ``patience`` seconds for what waits for them.

    One that has more than ``most`` of it (any, when no more records are taken because of all there is: ``full``) goes
    on by the attempt ledger: what waits for it moves there, and so does what comes for it, until it has caught up. Its
    records are then done with, and leave their room to those of others.
    """

    def __init__(
        self, hooks: Hooks, full: Callable[[], bool], *, most: int, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._hooks = hooks
        self._full = full
        self._most = most
        self._patience = patience
        self._seen: dict[Lane, int] = {}
        self._slow: Counter[Lane] = Counter()

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look(LOOK_SECONDS)

    async def look(self, seconds: float) -> None:
        """Park what is slow, judged by what has ended within the ``seconds`` since the last look."""
        before, lanes = self._seen, self._hooks.lanes()
        self._seen = {lane: lane.ended for lane in lanes}
        full, slow = self._full(), Counter[Lane]()
        for lane in lanes:
            if lane in before:
                rate = (lane.ended - before[lane]) / seconds
                if lane.untried > max(0 if full else self._most, rate * self._patience):
                    slow[lane] = self._slow[lane] + 1
        self._slow = slow
        for lane, looks in slow.items():
            if full or looks >= LOOKS:  # when all wait for it, it goes at once
                await self._park(lane)

    async def _park(self, lane: Lane) -> None:
        failures = self._hooks.failures
        failures.waiting_keys.slow.add(lane.installation.id)
        failures.waiting_keys.installations.add(lane.installation.id)
        runs = lane.take_untried()
        log.warning("a slow plugin's events wait in the ledger", installation=lane.installation.id, events=len(runs))
        await failures.park(runs)
