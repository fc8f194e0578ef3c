"""One child process that logs to a file, is waited for, ends in bounded time and never outlives this process."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from outlet.local import launch
from outlet.local.account import Account
from outlet.local.errors import ProcessFailed

Probe = Callable[[], Awaitable[bool]]

STOP_GRACE = 3.0
"""Seconds between asking a process to end and ending it."""
PROBE_INTERVAL = 0.02
LOG_LIMIT = 10 * 1024 * 1024
"""Bytes after which the log of earlier runs is set aside as ``<name>.log.1`` when a process starts."""
TAIL_LINES = 25


class Process:
    """A program run as our child.

    ``death_signal`` is what it receives when this process dies, however that happens (Linux). The kernel ties that to
    the thread that starts the child, so call `start` from the main thread. The child leads a process group of its own:
    Ctrl-C reaches only us, and we end the children in order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        directory: Path | None = None,
        account: Account | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._command = _launched(command, account, death_signal)
        self._environment = dict(environment)
        self._directory = directory
        self._child: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._child.pid if self.running and self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def start(self, stdin: bytes = b"") -> None:
        """Start the program and hand it ``stdin``; its output goes to the end of the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
            )
        if stdin and self._child.stdin:
            self._child.stdin.write(stdin)
            self._child.stdin.close()

    async def wait(self) -> int:
        """Wait until the program has ended; returns its exit status (negative: the signal that ended it)."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return await self._child.wait()

    async def until_ready(self, probe: Probe, within: float) -> None:
        """Wait until ``probe`` answers True. Raises ProcessFailed if the program ends, or after ``within`` seconds."""
        ready = asyncio.ensure_future(_poll(probe))
        ended = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ProcessFailed(
                    self.name, f"ended with status {ended.result()} while starting", self.tail(), self.log
                )
            if not ready.done():
                raise ProcessFailed(self.name, f"was not ready after {within:g} s", self.tail(), self.log)
            ready.result()
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def stop(self, grace: float = STOP_GRACE, request: signal.Signals = signal.SIGTERM) -> None:
        """End the program: ``request`` first, SIGKILL for its whole process group after ``grace`` seconds."""
        child = self._child
        if child is None:
            return
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                child.send_signal(request)
            try:
                await asyncio.wait_for(child.wait(), grace)
            except TimeoutError:
                self.kill()
        await child.wait()

    def kill(self) -> None:
        """SIGKILL to the program and whatever shares its process group. Does not wait."""
        if self.running and self._child:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(self._child.pid, signal.SIGKILL)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that this run of the program wrote."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 64 * 1024))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


async def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    account: Account | None = None,
    stdin: bytes = b"",
    within: float = 60.0,
) -> str:
    """Run a program to its end and return what it wrote. Raises ProcessFailed unless it exits with 0 in time (s)."""
    name = Path(command[0]).name
    child = await asyncio.create_subprocess_exec(
        *_launched(command, account, signal.SIGKILL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(child.communicate(stdin), within)
    except TimeoutError as error:
        raise ProcessFailed(name, f"did not end within {within:g} s", "") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    text = output.decode(errors="replace")
    if child.returncode != 0:
        raise ProcessFailed(name, f"failed with status {child.returncode}", text)
    return text


def _launched(command: Sequence[str], account: Account | None, death_signal: signal.Signals) -> list[str]:
    options: dict[str, int | bool] = {"parent": os.getpid(), "signal": int(death_signal)}
    if account:
        options |= {"uid": account.uid, "gid": account.gid, "reach": account.reach}
    return [sys.executable, "-I", "-S", launch.__file__, json.dumps(options), *command]


async def _poll(probe: Probe) -> None:
    while not await probe():  # noqa: ASYNC110 - what is awaited happens in another process
        await asyncio.sleep(PROBE_INTERVAL)
