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

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look(LOOK_SECONDS)

    async def look(self, seconds: float) -> None:
        """Park what is slow, judged by what has ended within the ``seconds`` since the last look."""
        before, lanes = self._seen, self._hooks.lanes()
        self._seen = {lane: lane.ended for lane in lanes}
        most = 0 if self._full() else self._most
        for lane in lanes:
            if lane in before:
                rate = (lane.ended - before[lane]) / seconds
                if lane.untried > max(most, rate * self._patience):
                    await self._park(lane)

    async def _park(self, lane: Lane) -> None:
        failures = self._hooks.failures
        failures.waiting_keys.slow.add(lane.installation.id)
        failures.waiting_keys.installations.add(lane.installation.id)
        runs = lane.take_untried()
        log.warning("a slow plugin's events wait in the ledger", installation=lane.installation.id, events=len(runs))
        await failures.park(runs)
