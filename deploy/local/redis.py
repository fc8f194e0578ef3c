"""A real Redis server."""

from pathlib import Path
from typing import ClassVar

from deploy.local.part import Part
from deploy.local.ports import free_ports
from deploy.local.programs import find
from outlet.local.network import exchange


def server_program() -> Path:
    """The path of redis-server. Raises `PlatformError`."""
    return find("redis-server", package="redis-server")


class Redis(Part):
    """One Redis server; every write goes to its append-only file, so a crash of the process loses none."""

    name: ClassVar[str] = "redis"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (self.port,) = free_ports(1)

    @classmethod
    def require_programs(cls) -> None:
        """redis-server."""
        server_program()

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
        """Whether PING is answered by PONG; it is answered by an error while the append-only file is being read."""
        return (await exchange(self.port, b"PING\r\n")).startswith(b"+PONG")
