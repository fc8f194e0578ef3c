"""One program run as a child: started, waited for until it answers, paused, stopped or killed, and started again."""

import os
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from outlet.local.account import Account
from outlet.local.errors import PlatformError
from outlet.local.process import Process


class Part(ABC):
    """A real part of the platform on a loopback port, its data and log in `directory`, all kept across restarts.

    Start it from the main thread: on Linux the child ends with that thread, however it ends, so a killed test run
    leaves nothing behind. `async with part:` starts it and stops it. Errors are `outlet.local.errors.PlatformError`.
    """

    name: ClassVar[str]
    ready_within: ClassVar[float] = 60  # seconds
    stop_within: ClassVar[float] = 15  # seconds, then SIGKILL
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    kill_signal: ClassVar[signal.Signals] = signal.SIGKILL
    orphan_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._process: Process | None = None

    @classmethod
    @abstractmethod
    def require_programs(cls) -> None:
        """Raise `PlatformError`, whose remedy names a package, when a program it needs is not on this machine."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make what the program needs in `directory`; leaves alone what is there."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a client gets a true answer now."""

    def account(self) -> Account | None:
        """Whom to run the program as; None for the user that we are."""
        return None

    def environment(self) -> dict[str, str]:
        """The program's environment: nothing of ours, whose variables and locale it would otherwise obey."""
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}

    @property
    def pid(self) -> int | None:
        """The process id, or None while the part is not running."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start, and return once it answers; on the same port and data as before. Does nothing while it is running."""
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.prepare()
        process = Process(
            self.name,
            self.command(),
            log=self.directory / f"{self.name}.log",
            environment=self.environment(),
            account=self.account(),
            death_signal=self.orphan_signal,
        )
        self._process = process
        try:
            await process.start()
            await process.until_ready(self.answers, self.ready_within)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """End gracefully, by SIGKILL when that takes longer than `stop_within`. Does nothing when not running."""
        await self._end(self.stop_signal)

    async def kill(self) -> None:
        """Crash: no flush, no goodbye. Does nothing when not running."""
        await self._end(self.kill_signal)

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _end(self, how: signal.Signals) -> None:
        if self._process is None or not self._process.running:
            return
        self._signal(signal.SIGCONT)  # a paused process hears nothing but SIGKILL
        await self._process.stop(self.stop_within, how)

    def _signal(self, which: signal.Signals) -> None:
        if self.pid is None:
            raise PlatformError(f"{self.name} is not running")
        os.kill(self.pid, which)
