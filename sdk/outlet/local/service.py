"""One service of the platform as a supervised child process (``python -m services.<name>``)."""

import sys
from collections.abc import Mapping
from pathlib import Path

from outlet.local.process import Probe, Process

START_TIMEOUT = 60.0
"""Seconds from the start of a service to its readiness: migrations and catching up with the directory included."""
UNFINISHED_GRACE = 1.0
"""Seconds that a service which is not ready yet gets to end."""


class Service:
    """A service of the platform. ``name`` tells workers of one service apart; ``module`` is what Python runs."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str], probe: Probe, log: Path) -> None:
        self.name = name
        # -P: a folder named `services` where the command is called must not take the place of the real one.
        self._process = Process(name, [sys.executable, "-P", "-m", module], log=log, environment=environment)
        self._probe = probe

    @property
    def running(self) -> bool:
        return self._process.running

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it says it is ready. Raises ProcessFailed with the end of its log."""
        try:
            await self._process.start()
            await self._process.until_ready(self._probe, START_TIMEOUT)
        except BaseException:
            await self._process.stop(UNFINISHED_GRACE)
            raise

    async def stop(self, grace: float) -> None:
        """Ask it to end (SIGTERM), and end it by force after ``grace`` seconds."""
        await self._process.stop(grace)

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit status."""
        return await self._process.wait()
