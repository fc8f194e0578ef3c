"""A guest's life, from its socket to its end."""

import asyncio
import socket

from outlet._frames import FrameReader, HostFrame, host_frames
from outlet._guest.connection import GuestConnection
from outlet._guest.loading import load
from outlet._guest.program import Program


def run(connection: socket.socket) -> None:
    """Load a plugin from ``connection`` and serve it until the worker closes the stream."""
    reader = host_frames()
    program = load(connection, reader)
    if program is not None:
        # Not asyncio.run: its tidy end would wait for tasks that the plugin left behind.
        asyncio.new_event_loop().run_until_complete(_serve(connection, reader, program))


async def _serve(connection: socket.socket, reader: FrameReader[HostFrame], program: Program) -> None:
    _, protocol = await asyncio.get_running_loop().create_unix_connection(
        lambda: GuestConnection(program, reader), sock=connection
    )
    await protocol.closed
