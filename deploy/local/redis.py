"""A real Redis server."""

from pathlib import Path
from typing import ClassVar

import redis.asyncio
from redis.exceptions import ConnectionError as NotConnectedError

from deploy.local.part import Part
from deploy.local.ports import free_ports
from deploy.local.programs import find


def server_program() -> Path:
    """The path of redis-server. Raises `MissingProgramError`."""
    return find("redis-server", package="redis-server")


class Redis(Part):
    """One Redis server; every write goes to its append-only file, so a crash of the process loses none."""

    name: ClassVar[str] = "redis"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        """``redis://host:port/0``."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def prepare(self) -> None:
        """Nothing: Redis makes its files itself."""

    def command(self) -> list[str]:
        """redis-server, told everything by arguments."""
        return [
            str(server_program()),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)),
            *("--appendonly", "yes", "--save", ""),
        ]

    async def answers(self) -> bool:
        """Whether PING is answered; false while the append-only file is still being read."""
        client = redis.asyncio.Redis.from_url(self.url, retry=None)
        try:
            return bool(await client.ping())
        except NotConnectedError:  # BusyLoadingError is one of these
            return False
        finally:
            await client.aclose()
