"""Loopback ports and addresses."""

import asyncio
import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different TCP ports on loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in sockets]


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on this TCP port."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: connections in TIME_WAIT are no obstacle
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def exchange(port: int, request: bytes, within: float = 1.0) -> bytes:
    """Send ``request`` to a loopback port; returns the first bytes of the answer, empty if none comes in time (s)."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(request)
                return await reader.read(1024)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return b""
