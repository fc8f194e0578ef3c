"""Keeps a plugin that is slow, hangs or is flooded from holding up the events of all others."""

import asyncio
from collections.abc import Callable

import structlog

from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.lanes import Lane

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 5.0


class Parking:
    """While no more records are taken because too many wait, looks which installations they wait for.

    One that would need longer than ``patience`` seconds for what it has goes on by the attempt ledger: what waits for
    it moves there, and so does what comes for it, until it has caught up. Its records are then done with, and those of
    the others are taken again. ``full`` says whether no more records are taken.
    """

    def __init__(self, hooks: Hooks, full: Callable[[], bool], *, patience: float = PATIENCE_SECONDS) -> None:
        self._hooks = hooks
        self._full = full
        self._patience = patience
        self._seen: dict[Lane, int] = {}

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look(LOOK_SECONDS)

    async def look(self, seconds: float) -> None:
        """Park what is slow, judged by what has ended within the ``seconds`` since the last look."""
        before, lanes = self._seen, self._hooks.lanes()
        self._seen = {lane: lane.ended for lane in lanes}
        if not self._full():
            return
        for lane in lanes:
            if lane in before:
                rate = (lane.ended - before[lane]) / seconds
                if lane.untried > rate * self._patience:
                    await self._park(lane)

    async def _park(self, lane: Lane) -> None:
        failures = self._hooks.failures
        failures.waiting_keys.slow.add(lane.installation.id)
        failures.waiting_keys.installations.add(lane.installation.id)
        runs = lane.take_untried()
        log.warning("a slow plugin's events wait in the ledger", installation=lane.installation.id, events=len(runs))
        await failures.park(runs)
