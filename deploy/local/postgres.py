"""A real PostgreSQL server."""

import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import asyncpg

from deploy.local.part import Part
from deploy.local.ports import free_ports
from deploy.local.programs import find
from outlet.local.account import Account, unprivileged
from outlet.local.process import run

ROLE = "outlet"


def server_program(name: str) -> Path:
    """The path of one of the server's programs, the newest version installed. Raises `PlatformError`.

    Debian keeps them off PATH, in a folder per version.
    """
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(folders, key=lambda folder: int(folder.parent.name), reverse=True)
    return find(name, package="postgresql", also=tuple(newest_first))


class Postgres(Part):
    """One PostgreSQL cluster. `settings` are server parameters, such as ``{"fsync": "off"}``.

    As on a managed database, Outlet's role may create databases but is no superuser. PostgreSQL refuses to run as root:
    started by root it runs as an unprivileged user.
    """

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends the sessions, then a checkpoint
    # "Immediate": the sessions end at once, nothing is flushed, and the next start recovers from the log. SIGKILL would
    # crash no harder, but it leaves the children to notice by themselves, and they keep the next start from succeeding.
    kill_signal: ClassVar[signal.Signals] = signal.SIGQUIT
    orphan_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(directory)
        (self.port,) = free_ports(1)
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # the path of a socket may be longer than the system allows
            "max_connections": "200",
            **(settings or {}),
        }
        self._data = self.directory / "data"
        self._password_file = self.directory / "password"

    @classmethod
    def require_programs(cls) -> None:
        """initdb and postgres."""
        server_program("initdb")
        server_program("postgres")

    def dsn(self, database: str) -> str:
        """``postgresql://user:password@host:port/database``, without a driver; once the part was started."""
        return f"postgresql://{ROLE}:{self._password_file.read_text()}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str) -> str:
        """Make an empty database and return its dsn. Raises `asyncpg.DuplicateDatabaseError`."""
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.dsn(name)

    async def prepare(self) -> None:
        """Make the cluster and Outlet's role on the first start."""
        if self._data.exists():
            return
        # Made aside and moved in whole: an interrupted first start leaves nothing half made.
        staging = self.directory / "data.new"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        account = self.account()
        if account:
            os.chown(staging, account.uid, account.gid)
        environment = self.environment()
        initdb = [str(server_program("initdb")), "-D", str(staging), "-U", "postgres", "--auth=reject", "--no-sync"]
        await run([*initdb, "--encoding=UTF8", "--locale=C.UTF-8"], environment=environment, account=account)
        # Every user of the machine can reach a loopback port, so there is a password; nobody logs in as the superuser.
        (staging / "pg_hba.conf").write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n")
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        role = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self._password_file.read_text()}';\n"
        single = [str(server_program("postgres")), "--single", "-D", str(staging), "-c", "exit_on_error=on", "postgres"]
        await run(single, environment=environment, account=account, stdin=role.encode())
        staging.rename(self._data)

    def account(self) -> Account | None:
        """An unprivileged user where we are root."""
        return unprivileged(self._data, (self.directory, server_program("postgres")))

    def command(self) -> list[str]:
        """postgres, told everything by arguments."""
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        return [str(server_program("postgres")), "-D", str(self._data), *options]

    async def answers(self) -> bool:
        """Whether a session can be opened; false while the server starts or recovers."""
        try:
            connection = await asyncpg.connect(self.dsn("postgres"), timeout=5)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True
