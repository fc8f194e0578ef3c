"""A guest's life, from its socket to its end."""

import asyncio
import os
import socket
from typing import Any

from outlet._frames import Confined, FrameReader, HostFrame, Load, host_frames, pack
from outlet._guest.confinement import confine
from outlet._guest.connection import GuestConnection
from outlet._guest.limits import OUT_OF_MEMORY, CallTimer
from outlet._guest.loading import load, receive_order
from outlet._guest.program import Program


def run(connection: socket.socket) -> None:
    """Confine this process, load a plugin from ``connection`` and serve it until the worker closes the stream."""
    reader = host_frames()
    order = receive_order(connection, reader)
    if order is None:
        return
    loop = asyncio.new_event_loop()  # a confined guest can open no poll set
    loop.set_exception_handler(_on_loop_failure)
    connection.sendall(pack(Confined(confine(order.limits))))
    if order.size:
        try:
            # Not asyncio.run: its tidy end would wait for tasks that the plugin left behind.
            _load_and_serve(loop, connection, reader, order)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _load_and_serve(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, reader: FrameReader[HostFrame], order: Load
) -> None:
    timer = CallTimer(order.limits.call_cpu_seconds)
    timer.start()
    program = load(connection, reader, order)
    timer.stop()
    if program is not None:
        worn_after = order.limits.cpu_seconds / 2
        loop.run_until_complete(_serve(connection, reader, program, timer, worn_after))


async def _serve(
    connection: socket.socket, reader: FrameReader[HostFrame], program: Program, timer: CallTimer, worn_after: float
) -> None:
    _, protocol = await asyncio.get_running_loop().create_unix_connection(
        lambda: GuestConnection(program, reader, timer, worn_after), sock=connection
    )
    await protocol.closed


def _on_loop_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody reads what a guest would log. Without memory for its own work it is of no use any more."""
    if isinstance(context.get("exception"), MemoryError):
        os._exit(OUT_OF_MEMORY)
