"""A plugin in a bare process: what an ordinary host would start, with nothing around it.

Run as ``bare_guest.py PACKAGE DESCRIPTOR``; the connection to the host becomes descriptor 3. Answers calls, which are
frames of msgpack ``[id, body]``, with the frames that a confined guest would write.
"""

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from outlet._api import Api
from outlet._frames import Result, Results, pack
from outlet._guest.responses import respond
from outlet._load import load_entry
from outlet._modules import MemoryFinder
from outlet._plugin import Handler, hook_handlers, route_handlers
from outlet._requests import Caller, Request
from outlet.package import open_package


class NoHost:
    """There is no Plugin API in a bare process."""

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        raise RuntimeError(f"a bare process has no Plugin API to answer {method}")

    def notify(self, method: str, arguments: dict[str, Any]) -> None:
        raise RuntimeError(f"a bare process has no Plugin API to answer {method}")


async def answer(attack: Handler, nothing: Handler, body: bytes) -> bytes:
    """The payload of a call's result. A call without a body is the neighbour's: its hook."""
    api = Api(NoHost(), organization="acme", store=None, config={})
    if not body:
        await nothing(api, None)
        return b""
    caller = Caller("user-1", "cashier", "store-1")
    request = Request(method="POST", path="/attack", caller=caller, params={}, query={}, headers={}, body=body)
    return msgspec.msgpack.encode(respond(await attack(api, request)))


async def serve(connection: socket.socket, attack: Handler, nothing: Handler) -> None:
    """Answer one call after the other, until the host hangs up."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()

    async def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            received = await loop.sock_recv(connection, size - len(data))
            if not received:
                raise EOFError
            data += received
        return data

    with contextlib.suppress(EOFError):
        while True:
            size = int.from_bytes(await exactly(4), "big")
            number, body = msgspec.msgpack.decode(await exactly(size))
            result = Result(number, await answer(attack, nothing, body))
            await loop.sock_sendall(connection, pack(Results([result])))


def main() -> None:
    """Load the plugin and serve it."""
    package = open_package(Path(sys.argv[1]).read_bytes())
    sys.meta_path.insert(0, MemoryFinder(package.sources))
    plugin = load_entry(package.manifest.entry)
    os.dup2(int(sys.argv[2]), 3)
    attack = route_handlers(plugin)["POST", "/attack"]
    asyncio.run(serve(socket.socket(fileno=3), attack, hook_handlers(plugin)["sale.created"]))


if __name__ == "__main__":
    main()
