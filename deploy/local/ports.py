"""Free loopback ports that stay usable across a restart."""

import asyncio
import random
import socket
from contextlib import ExitStack

# Below every system's range of ephemeral ports. A client that keeps knocking at a stopped part whose port lies inside
# that range can be given the very same port as its own, connect to itself, and so keep the part from starting again.
_CANDIDATES = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports on 127.0.0.1 that nothing listens on. Raises `OSError` when there are too few."""
    free: list[int] = []
    with ExitStack() as probes:
        for port in random.sample(_CANDIDATES, 200):
            if len(free) == count:
                return free
            probe = probes.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free.append(port)
    raise OSError(f"fewer than {count} free ports between {_CANDIDATES.start} and {_CANDIDATES.stop}")


async def accepts(port: int) -> bool:
    """Whether something on 127.0.0.1 accepts a connection to `port` now."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
