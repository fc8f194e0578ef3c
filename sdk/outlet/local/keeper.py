"""Keeps one part of the platform running: starts it, starts it again when it dies, ends it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from outlet.local.errors import PlatformError

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
STEADY_AFTER = 30.0
"""Seconds a part must have run for its next death to count as its first."""


class Part(Protocol):
    """Something that is started, runs and may die: a database server, a service."""

    @property
    def name(self) -> str: ...

    @property
    def running(self) -> bool: ...

    async def start(self) -> None:
        """Start it and wait until it is ready; on failure nothing of it runs, and PlatformError says why."""

    async def stop(self, grace: float) -> None:
        """End it within ``grace`` seconds, and by force after that."""

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit status."""


@dataclass(frozen=True)
class Report:
    """What happened to a part. ``seconds``: how long a start took. ``detail``: why it died."""

    part: str
    state: Literal["starting", "ready", "died", "stopped"]
    seconds: float = 0.0
    detail: str = ""


Reporter = Callable[[Report], None]


PartT_co = TypeVar("PartT_co", bound=Part, covariant=True)


class Keeper(Generic[PartT_co]):
    """Keeps ``part`` running between `start` and `stop`, and tells ``report`` about every change."""

    def __init__(self, part: PartT_co, report: Reporter) -> None:
        self.part = part
        self.ready = asyncio.Event()
        """Set while the part is ready, as far as known."""
        self._report = report
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the part and watch over it from then on. Raises PlatformError when this first start fails."""
        await self._start()
        self._watch = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self, grace: float) -> None:
        """End the part for good, whatever state it is in."""
        if self._watch:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        self.ready.clear()
        if self.part.running:
            await self.part.stop(grace)
            self._report(Report(self.part.name, "stopped"))

    async def _start(self) -> None:
        self._report(Report(self.part.name, "starting"))
        begun = time.monotonic()
        await self.part.start()
        self.ready.set()
        self._report(Report(self.part.name, "ready", seconds=time.monotonic() - begun))

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            begun = time.monotonic()
            status = await self.part.wait()
            self.ready.clear()
            if time.monotonic() - begun > STEADY_AFTER:
                pause = FIRST_PAUSE
            self._report(Report(self.part.name, "died", detail=f"status {status}"))
            pause = await self._revive(pause)

    async def _revive(self, pause: float) -> float:
        """Try until the part is ready again; returns the pause to make before the next revival."""
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self._start()
            except PlatformError as error:
                self._report(Report(self.part.name, "died", detail=str(error)))
            else:
                return pause
