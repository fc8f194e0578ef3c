"""A real PostgreSQL server."""

import os
import pwd
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import asyncpg

from deploy.local.part import Part, PartFailedError
from deploy.local.ports import free_ports
from deploy.local.programs import find

_USER = "outlet"  # the server's superuser; connections come from loopback only and need no password


def server_program(name: str) -> Path:
    """The path of one of the server's programs, the newest version installed. Raises `MissingProgramError`.

    Debian keeps them off PATH, in a folder per version.
    """
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    return find(name, package="postgresql", also=tuple(versions))


class Postgres(Part):
    """One PostgreSQL cluster. `settings` are server parameters, such as ``{"fsync": "off"}``.

    PostgreSQL refuses to run as root: started by root it runs as the user ``postgres`` (``nobody`` where there is
    none), which must be able to enter `directory`.
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
        self.settings = dict(settings or {})
        self._data = directory / "data"

    def dsn(self, database: str) -> str:
        """``postgresql://user@host:port/database``, without a driver."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str) -> str:
        """Make an empty database and return its dsn. Raises `asyncpg.DuplicateDatabaseError`."""
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.dsn(name)

    async def prepare(self) -> None:
        """Make the cluster (initdb) on the first start."""
        if (self._data / "PG_VERSION").exists():
            return
        account = _unprivileged_account()
        if account:
            _refuse_closed_folder(self.directory, account)
            self._data.mkdir(exist_ok=True)
            os.chown(self._data, account.pw_uid, account.pw_gid)
        initdb = [str(server_program("initdb")), "--pgdata", str(self._data), "--username", _USER]
        await self.run([*initdb, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"], within=60)

    def command(self) -> list[str]:
        """postgres on loopback TCP alone: the path of a Unix socket may be longer than the system allows."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **self.settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(server_program("postgres")), "-D", str(self._data), "-p", str(self.port), *options]

    def leash(self) -> list[str]:
        """As for every part, and for root a change of user."""
        account = _unprivileged_account()
        if account is None:
            return super().leash()
        setpriv = [
            str(find("setpriv", package="util-linux")),
            "--reuid",
            account.pw_name,
            "--regid",
            str(account.pw_gid),
        ]
        return [*setpriv, "--clear-groups", *super().leash()]

    async def answers(self) -> bool:
        """Whether a session can be opened; false while the server starts or recovers."""
        try:
            connection = await asyncpg.connect(self.dsn("postgres"), timeout=5)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _refuse_closed_folder(folder: Path, account: pwd.struct_passwd) -> None:
    for path in (folder, *folder.absolute().parents):
        status = path.stat()
        enters = status.st_mode & 0o001 or (status.st_uid == account.pw_uid and status.st_mode & 0o100)
        if not enters:
            raise PartFailedError(
                f"postgres: the user {account.pw_name} cannot enter {path}; give a folder it can reach"
            )
