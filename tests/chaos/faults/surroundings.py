"""Nobody dies, but nothing is as it should be: deliveries, clocks, disks."""

import contextlib
import random
import resource

from tests.chaos.faults.fault import Fault

CLOCK_SECONDS = 4.0
"""Long enough for the worker to see its new clock (a second) and to look at schedules (another)."""


class DeliveriesScrambled(Fault):
    name = "deliveries doubled, reordered"
    goes_on = True

    async def aim(self, rng: random.Random) -> str:
        self._count = rng.randrange(20, 40)
        return f"{self._count} sales"

    async def inject(self) -> None:
        self.flow.scramble(self._count)


class ClockStepped(Fault):
    """One worker's clock is minutes ahead or behind for a while, and then right again."""

    name = "clock stepped"
    goes_on = True

    @property
    def holds(self) -> float:
        return CLOCK_SECONDS

    async def aim(self, rng: random.Random) -> str:
        await self.grounds.shifted.ready()
        self._step = rng.choice((-1, 1)) * rng.randrange(120, 1_200)
        return f"{abs(self._step)} s {'ahead' if self._step > 0 else 'behind'}, and back"

    async def inject(self) -> None:
        self.grounds.shifted.step(self._step)

    async def heal(self) -> None:
        self.grounds.shifted.step(0)


class LogDiskFull(Fault):
    """No service can write to its log file any more.

    The limit on the size of files stands in for the full disk: it holds for files alone, and these processes write no
    others. A write fails with EFBIG instead of ENOSPC.
    """

    name = "log disk full"
    goes_on = True

    @property
    def holds(self) -> float:
        return 2.0

    async def aim(self, rng: random.Random) -> str:
        services = [pid for pids in self.grounds.stack.pids.values() for pid in pids if pid is not None]
        self._pids = {*services, *self.grounds.workers().values()}
        return f"for {len(self._pids)} processes"

    async def inject(self) -> None:
        self._limit(1)

    async def heal(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):  # it has died; its successor has no limit
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
