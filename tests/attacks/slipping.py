"""A worker that lets descriptors slip to its guests, as a confused one might."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from outlet._frames import Reply, pack
from services.runtime.sandbox import Zygote

EVERY_SECONDS = 0.02
Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)


class SlippingZygote(Zygote):
    """Connects to guests of a zygote that runs already, and keeps hold of the connections."""

    def __init__(self, zygote: Zygote) -> None:
        super().__init__(zygote._socket)
        self._connections: list[socket.socket] = []

    async def _open(self, make_protocol: Callable[[], Protocol]) -> Protocol:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._socket))
        connection.setblocking(False)
        self._connections.append(connection.dup())
        _, protocol = await asyncio.get_running_loop().create_unix_connection(make_protocol, sock=connection)
        return protocol

    async def let_slip(self, path: Path) -> None:
        """Pass the open file to the guest that was started last, again and again until cancelled.

        It travels with a frame that answers no API calls, which a guest passes over.
        """
        with path.open("rb") as file:
            while True:
                socket.send_fds(self._connections[-1], [pack(Reply([]))], [file.fileno()])
                await asyncio.sleep(EVERY_SECONDS)

    async def close(self) -> None:
        for connection in self._connections:
            connection.close()
        await super().close()
