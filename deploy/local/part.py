"""One program run as a child: started, waited for until it answers, paused, stopped or killed, and started again."""

import asyncio
import os
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

_LOG_TAIL = 3_000  # characters


class PartFailedError(Exception):
    """A part did not start, or a program that prepares it failed; the message ends with what it printed."""


class Part(ABC):
    """A real part of the platform on a loopback port, its data and log in `directory`, both kept across restarts.

    Start it from the thread that lives as long as the part should: on Linux the child ends with that thread, however it
    ends, so a killed test run leaves nothing behind. `async with part:` starts it and stops it.
    """

    name: ClassVar[str]
    ready_within: ClassVar[float] = 60  # seconds
    stop_within: ClassVar[float] = 15  # seconds, then SIGKILL
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    kill_signal: ClassVar[signal.Signals] = signal.SIGKILL
    orphan_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: asyncio.subprocess.Process | None = None

    @abstractmethod
    async def prepare(self) -> None:
        """Make what the program needs in `directory`; does nothing when it is there. Raises `PartFailedError`."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a client gets a true answer now."""

    @property
    def log(self) -> Path:
        """What the program printed, over all its starts."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id, or None while the part is not running."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start, and return once it answers.

        Raises `MissingProgramError`, or `PartFailedError` with the end of what it printed.
        """
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.prepare()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.leash(),
                *self.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the parent, which then stops its parts in order
            )
        try:
            await self._until_ready(self._process)
        except BaseException:
            await self._end(self.kill_signal)
            raise

    async def stop(self) -> None:
        """End gracefully, by SIGKILL when that takes longer than `stop_within`. Does nothing when it is not running."""
        await self._end(self.stop_signal)

    async def kill(self) -> None:
        """Crash: no flush, no goodbye. `start` brings it back on the same port and data."""
        await self._end(self.kill_signal)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing answers, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def leash(self) -> list[str]:
        """What goes before a command so that it ends with its parent; empty where the system has no such thing."""
        # Of util-linux. It turns into the command itself, so the process id is the program's own.
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", self.orphan_signal.name.removeprefix("SIG")] if setpriv else []

    async def run(self, command: Sequence[str], *, within: float) -> None:
        """Run a program that prepares the part, for at most `within` seconds. Raises `PartFailedError`."""
        process = await asyncio.create_subprocess_exec(
            *self.leash(),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), within)
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                raise PartFailedError(f"{self.name}: {command[0]} took more than {within:.0f} s") from error
            raise
        if process.returncode:
            tail = output.decode(errors="replace")[-_LOG_TAIL:]
            raise PartFailedError(f"{self.name}: {command[0]} ended with {process.returncode}:\n{tail}")

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        try:
            async with asyncio.timeout(self.ready_within):
                while not await self.answers():
                    await asyncio.wait({ended}, timeout=0.05)
                    if ended.done():
                        raise PartFailedError(f"{self.name} ended with {ended.result()} at start:\n{self._log_tail()}")
        except TimeoutError as error:
            message = f"{self.name} does not answer after {self.ready_within:.0f} s:\n{self._log_tail()}"
            raise PartFailedError(message) from error
        finally:
            ended.cancel()

    async def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGCONT)  # a paused process hears nothing but SIGKILL
        self._signal(how)
        try:
            await asyncio.wait_for(self._process.wait(), self.stop_within)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, which: signal.Signals) -> None:
        if self.pid is None:
            raise PartFailedError(f"{self.name} is not running")
        # Not Process.send_signal: it may reap a child that just ended before the event loop can learn its exit code.
        with suppress(ProcessLookupError):
            os.kill(self.pid, which)

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_TAIL:]
