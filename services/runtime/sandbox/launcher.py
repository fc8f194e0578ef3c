"""The worker's hold on its zygote: started on demand, started again when it died, connected to for each guest."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import cronsim
import msgspec
import structlog

import outlet
from services.runtime.sandbox.errors import SandboxUnavailable

log = structlog.get_logger(__name__)

SCRIPT = Path(__file__).with_name("zygote.py")
DEATH_NOTICE_SECONDS = 0.2
RETRY_SECONDS = 0.05

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)
Alive = Callable[[], Awaitable[bool]]


class Zygote:
    """Makes guests. With ``socket``, of a zygote that runs already; else of one started here, which dies with us.

    ``start_deadline`` (seconds) bounds every wait for a zygote. Use as an async context manager.
    """

    def __init__(self, socket: Path | None = None, *, start_deadline: float = 10.0) -> None:
        self._foreign_socket = socket
        self._start_deadline = start_deadline
        self._folder: Path | None = None
        self._process: Process | None = None
        self.started = 0
        """Guests that were started, those that only tried their walls included."""
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if self._foreign_socket is None:
            await self._running()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the zygote started here, while there is one."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def connect(self, make_protocol: Callable[[], Protocol]) -> tuple[Protocol, Alive]:
        """Fork a guest and talk to it through a new protocol. The second value tells whether its zygote still lives.

        Raises :class:`SandboxUnavailable`.
        """
        try:
            async with asyncio.timeout(self._start_deadline):
                while True:
                    process = None if self._foreign_socket else await self._running()
                    try:
                        protocol = await self._open(make_protocol)
                    except (ConnectionError, FileNotFoundError):
                        await _has_ended(process)
                    else:
                        self.started += 1
                        return protocol, partial(self._lives, process)
        except TimeoutError as error:
            raise SandboxUnavailable(f"no guest could be started within {self._start_deadline:g} s") from error

    async def close(self) -> None:
        """End the zygote started here, and with it its guests."""
        async with self._starting:
            if self._process is not None:
                await _kill(self._process)
                self._process = None
            if self._folder is not None:
                shutil.rmtree(self._folder)
                self._folder = None

    @property
    def _socket(self) -> Path:
        if self._foreign_socket is not None:
            return self._foreign_socket
        if self._folder is None:
            # mkdtemp makes it accessible to this user alone
            self._folder = Path(tempfile.mkdtemp(prefix="zygote-"))
        return self._folder / "socket"

    async def _open(self, make_protocol: Callable[[], Protocol]) -> Protocol:
        _, protocol = await asyncio.get_running_loop().create_unix_connection(make_protocol, str(self._socket))
        return protocol

    async def _running(self) -> Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                if self._process is not None:
                    log.error("the zygote ended and is started again", status=self._process.returncode)
                self._process = await self._launch()
            return self._process

    async def _launch(self) -> Process:
        self._socket.unlink(missing_ok=True)
        folders = dict.fromkeys(str(Path(module.__file__ or "").parents[1]) for module in (outlet, msgspec, cronsim))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(SCRIPT), "--socket", str(self._socket)),
            *("--parent", str(os.getpid()), "--path", *folders),
            stdin=DEVNULL,
            stdout=PIPE,
            env={},
            start_new_session=True,  # Ctrl-C in a terminal is for the worker, which ends the zygote in its time
        )
        assert process.stdout is not None  # noqa: S101  PIPE makes it
        try:
            async with asyncio.timeout(self._start_deadline):
                greeting = await process.stdout.readline()
        except BaseException:
            await _kill(process)
            raise
        if greeting != b"ready\n":
            await _kill(process)
            raise SandboxUnavailable(f"the zygote ended at its start with status {process.returncode}")
        return process

    async def _lives(self, process: Process | None) -> bool:
        if process is not None:
            return not await _has_ended(process)
        try:
            transport, _ = await asyncio.get_running_loop().create_unix_connection(
                asyncio.Protocol, str(self._foreign_socket)
            )
        except OSError:
            return False
        transport.abort()
        return True


async def _has_ended(process: Process | None) -> bool:
    """Whether our zygote has ended, which may become known a moment after its guests did. For another's: a pause."""
    if process is None:
        await asyncio.sleep(RETRY_SECONDS)  # nothing of a foreign process can be awaited
        return False
    try:
        async with asyncio.timeout(DEATH_NOTICE_SECONDS):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def _kill(process: Process) -> None:
    """End our child. By its number: ``Process.kill`` asks whether it has ended, and the event loop then cannot."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    await process.wait()
