"""Sockets of every family."""

import socket

from tests.attacks.attack import Attack, reached

NETWORK = [
    Attack("connect by TCP", "sockets", "socket.create_connection(('127.0.0.1', t['tcp']), 1).close()", reached("tcp")),
    Attack(
        "connect by TCP over IPv6",
        "sockets",
        "socket.create_connection(('::1', t['tcp6']), 1).close()",
        reached("tcp6"),
        may_be_refused=True,
    ),
    Attack(
        "connect by TCP through asyncio",
        "sockets",
        "(await asyncio.open_connection('127.0.0.1', t['tcp']))[1].close()",
        reached("tcp"),
    ),
    Attack(
        "send a datagram",
        "sockets",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', t['udp']))",
        reached("udp"),
    ),
    Attack("connect to a Unix socket", "sockets", "socket.socket(socket.AF_UNIX).connect(t['unix'])", reached("unix")),
    Attack(
        "connect to an abstract Unix socket",
        "sockets",
        "socket.socket(socket.AF_UNIX).connect('\\0' + t['abstract'])",
        reached("abstract"),
    ),
    Attack(
        "listen on a port",
        "sockets",
        """
        with socket.create_server(("127.0.0.1", t["free"])) as server:
            server.settimeout(5)
            server.accept()
        """,
        reached("knock"),
    ),
    Attack(
        "ask the kernel about the network (netlink)",
        "sockets",
        """
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        asking.bind((0, 0))
        asking.send(struct.pack("=IHHIIB3x", 20, 18, 0x301, 1, 0, 0))
        answer = asking.recv(65536)
        return [name for _, name in socket.if_nameindex() if name.encode() in answer]
        """,
        lambda seen: bool(seen.evidence) and set(seen.evidence) <= {name for _, name in socket.if_nameindex()},
    ),
    Attack(
        "open a socket of any family",
        "sockets",
        """
        made = []
        for family in range(1, 46):
            for kind in (1, 2, 3, 5):
                try:
                    socket.socket(family, kind).close()
                except OSError:
                    continue
                made.append([family, kind])
        return made
        """,
        lambda seen: bool(seen.evidence),
    ),
    Attack(
        "listen to all traffic (raw socket)",
        "sockets",
        """
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as listening:
            listening.settimeout(1)
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", t["udp"]))
            return len(listening.recv(100))
        """,
        lambda seen: bool(seen.evidence),
        may_be_refused=True,
    ),
]
