"""The zygote: a small process that has everything imported, and becomes a guest on each connection.

Run as ``python -I -S zygote.py --socket PATH --path FOLDER ...``: it imports from the given folders and the standard
library alone. Connecting forks a guest that owns the connection; closing the connection kills it. There is no other
control, so this works the same across users and PID namespaces.

The zygote keeps a duplicate of each guest's connection, only to see the worker hang up. When a guest ends by itself,
its end is written on that duplicate as a last frame (best effort: the stream may have been left within a frame).

Single-threaded, and without an event loop: what is forked must hold no locks.
"""

import argparse
import contextlib
import gc
import grp
import importlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HANG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
DESCRIPTORS_KEPT_FREE = 64
FIRST_FREE_DESCRIPTOR = 3

# What plugins commonly use of the standard library: imported once, shared by all guests.
COMMON_MODULES = (
    "_strptime",
    "asyncio",
    "base64",
    "bisect",
    "calendar",
    "collections",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "io",
    "itertools",
    "json",
    "logging",
    "math",
    "operator",
    "random",
    "re",
    "secrets",
    "statistics",
    "string",
    "textwrap",
    "time",
    "traceback",
    "typing",
    "urllib.parse",
    "uuid",
    "zoneinfo",
)


@dataclass(slots=True)
class Guest:
    """One forked child: its process, and the zygote's duplicate of its connection."""

    pid: int
    pidfd: int
    connection: socket.socket
    watched: bool = True


class Forker:
    """Accepts connections, forks guests, kills those whose worker hung up and reaps those that ended.

    ``become_guest`` runs in the child and owns the connection; ``farewell`` makes the last frame of an exit status, the
    number of the signal that ended it and the seconds of CPU time it used.
    """

    def __init__(
        self,
        listener: socket.socket,
        become_guest: Callable[[socket.socket], None],
        farewell: Callable[[int, int, float], bytes],
        capacity: int,
    ) -> None:
        self._listener = listener
        self._become_guest = become_guest
        self._farewell = farewell
        self._capacity = capacity
        self._by_pidfd: dict[int, Guest] = {}
        self._by_connection: dict[int, Guest] = {}
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until killed."""
        while True:
            ready = {descriptor for descriptor, _ in self._epoll.poll()}
            for descriptor in ready & self._by_connection.keys():
                self._kill(self._by_connection[descriptor])
            for descriptor in ready & self._by_pidfd.keys():
                self._reap(self._by_pidfd[descriptor])
            # Last, because a new connection may get the number of a descriptor that was closed above.
            if self._listener.fileno() in ready:
                self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        if len(self._by_pidfd) >= self._capacity:
            _complain(f"full: {self._capacity} guests run already")
            connection.close()
            return
        try:
            pid = os.fork()
        except OSError as error:
            _complain(f"cannot fork: {error}")
            connection.close()
            return
        if pid == 0:
            self._end_as_guest(connection)
        guest = Guest(pid, os.pidfd_open(pid), connection)
        self._by_pidfd[guest.pidfd] = guest
        self._by_connection[connection.fileno()] = guest
        self._epoll.register(guest.pidfd, select.EPOLLIN)
        self._epoll.register(connection, HANG_UP)

    def _end_as_guest(self, connection: socket.socket) -> None:
        status = 1
        try:
            self._become_guest(connection)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(status)

    def _kill(self, guest: Guest) -> None:
        if guest.watched:
            self._epoll.unregister(guest.connection)
            guest.watched = False
        os.kill(guest.pid, signal.SIGKILL)

    def _reap(self, guest: Guest) -> None:
        # The group keeps the guest's number until the guest is reaped, so nobody else can be hit.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guest.pid, signal.SIGKILL)
        _, status, usage = os.wait4(guest.pid, 0)
        if guest.watched:
            self._epoll.unregister(guest.connection)
        self._epoll.unregister(guest.pidfd)
        del self._by_pidfd[guest.pidfd], self._by_connection[guest.connection.fileno()]
        os.close(guest.pidfd)
        # OSError: the worker is gone or does not read; the end of the stream tells it enough.
        with contextlib.suppress(OSError):
            guest.connection.send(
                self._farewell(*_how_it_ended(status), usage.ru_utime + usage.ru_stime), socket.MSG_DONTWAIT
            )
            guest.connection.shutdown(socket.SHUT_RDWR)
        guest.connection.close()


def settle(connection: socket.socket) -> socket.socket:
    """Cut a new child loose from everything of the zygote's but its connection, which it returns."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.dup2(connection.detach(), FIRST_FREE_DESCRIPTOR, inheritable=False)
    os.closerange(FIRST_FREE_DESCRIPTOR + 1, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.enable()
    return socket.socket(fileno=FIRST_FREE_DESCRIPTOR)


def listen(path: Path, group: int | None = None) -> socket.socket:
    """A Unix socket that only this user, and a group when one is given, can connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o177)
    listener.bind(str(path))
    os.umask(0o077)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(0o660)
    listener.listen(socket.SOMAXCONN)
    listener.setblocking(False)
    return listener


def _how_it_ended(status: int) -> tuple[int, int]:
    if os.WIFSIGNALED(status):
        return 0, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def _group(name: str) -> int:
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


def _capacity() -> int:
    """How many guests the descriptors suffice for: two each. Takes all that the system grants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return (most - DESCRIPTORS_KEPT_FREE) // 2


def _complain(what: str) -> None:
    sys.stderr.write(f"zygote: {what}\n")
    sys.stderr.flush()


def main() -> None:
    """Serve on the socket of the command line; writes ``ready`` on standard output once it listens."""
    parser = argparse.ArgumentParser(description="Forks one plugin process for each connection.")
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket to listen on")
    parser.add_argument("--path", nargs="+", required=True, help="folders that outlet and msgspec are imported from")
    parser.add_argument("--parent", type=int, help="process to die with: the one that started this one")
    parser.add_argument("--group", type=_group, help="group, by name or number, whose members may connect as well")
    arguments = parser.parse_args()

    gc.disable()
    sys.path += arguments.path
    from outlet._frames import Exited, pack
    from outlet._guest import linux
    from outlet._guest.main import run
    from outlet._guest.standard_library import serve_from_memory

    for name in COMMON_MODULES:
        importlib.import_module(name)
    serve_from_memory()  # a guest imports its own package and the standard library, nothing that lies beside outlet

    if arguments.parent is not None:
        linux.die_with(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the worker ends us in its time
    os.environ.clear()
    os.putenv("TZ", "UTC")  # for the C library alone: the time zone of a guest is never that of its machine
    time.tzset()
    os.chdir("/")
    zygote = os.getpid()

    def become_guest(connection: socket.socket) -> None:
        linux.die_with(zygote)
        run(settle(connection))

    listener = listen(arguments.socket, arguments.group)
    linux.hide_from_other_processes()
    linux.drop_capabilities()
    forker = Forker(listener, become_guest, lambda *ended: pack(Exited(*ended)), _capacity())
    gc.collect()
    gc.freeze()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    forker.serve()


if __name__ == "__main__":
    main()
