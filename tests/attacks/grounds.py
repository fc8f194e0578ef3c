"""What there is to be gained on the host: planted for one run of an attack, looked at from outside, taken away."""

import asyncio
import contextlib
import ctypes
import os
import resource
import secrets
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path
from typing import Any, Self

from tests.attacks import processes

DECOY = Path(__file__).with_name("decoy.py")
ENVIRONMENT = "OUTLET_ATTACKED_SECRET"
KNOCK_SECONDS = 0.05
KEY_SPEC_USER_KEYRING = -4
KEYCTL_REVOKE = 3
REQUEST_KEY = {"x86_64": 249, "aarch64": 218}
KEYCTL = {"x86_64": 250, "aarch64": 219}
IPC_RMID = 0


class Grounds:
    """Files, listeners and a process of the host. Use as an async context manager.

    ``secrets`` are what a plugin must not come to know, ``arrivals`` counts what came in at each listener.
    ``environment`` is a secret that is in an environment already; else one is made up.
    """

    def __init__(self, environment: str | None = None) -> None:
        names = ("file", "name", "environment", "memory", "command", "descriptor")
        self.secrets = {name: f"{name}-{secrets.token_hex(12)}" for name in names}
        if environment is not None:
            self.secrets["environment"] = environment
        self.arrivals: Counter[str] = Counter()
        self.folder = Path(tempfile.mkdtemp(prefix="outlet-attacked-"))
        self.file = self.folder / self.secrets["name"]
        self.loot = self.folder / "loot"
        self.held = self.folder / "held"
        self.shared_name = f"outlet-attack-{secrets.token_hex(6)}"
        self.ipc_key = secrets.randbelow(2**30) + 1
        self._stack = contextlib.AsyncExitStack()
        self._decoy: Process | None = None
        self._address = 0
        self._target: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self.folder.chmod(0o777)
        self.file.write_text(self.secrets["file"])
        self.file.chmod(0o666)
        self.held.write_text(self.secrets["descriptor"])
        self._decoy = decoy = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(DECOY), str(self.held), self.secrets["memory"], self.secrets["command"]),
            stdin=PIPE,
            stdout=PIPE,
            env={ENVIRONMENT: self.secrets["environment"]},
        )
        assert decoy.stdout is not None
        self._address, descriptor = map(int, (await decoy.stdout.readline()).split())
        self._target = {
            "folder": str(self.folder),
            "file": str(self.file),
            "loot": str(self.loot),
            "decoy": decoy.pid,
            "address": self._address,
            "length": len(self.secrets["memory"]),
            "descriptor": descriptor,
            "shared_name": self.shared_name,
            "ipc_key": self.ipc_key,
            **await self._listen(),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        if self._decoy is not None:
            processes.kill(self._decoy)
            await self._decoy.communicate()
        self._remove_shared()
        # An attack may have taken permissions away; nothing outside the folder is touched.
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def target(self) -> dict[str, Any]:
        """What the plugin is told of where to attack: JSON."""
        return self._target

    @property
    def decoy_pid(self) -> int:
        """The process to be attacked."""
        assert self._decoy is not None
        return self._decoy.pid

    def decoy_harmed(self) -> bool:
        """Whether the process was ended or stopped."""
        return not processes.lives(self.decoy_pid)

    def decoy_overwritten(self) -> bool:
        """Whether its memory was changed."""
        with Path(f"/proc/{self.decoy_pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(self._address)
            return memory.read(len(self.secrets["memory"])) != self.secrets["memory"].encode()

    def decoy_limited(self) -> bool:
        """Whether its limit of open files was changed."""
        return resource.prlimit(self.decoy_pid, resource.RLIMIT_NOFILE) == (16, 16)

    def decoy_slowed(self) -> bool:
        """Whether it was made to stand back."""
        return os.getpriority(os.PRIO_PROCESS, self.decoy_pid) == 19

    def loot_bytes(self) -> int:
        """The size of the file (or of what is in the folder) that the plugin made; -1 when there is none."""
        if self.loot.is_dir():
            return sum(path.lstat().st_size for path in self.loot.iterdir())
        return self.loot.lstat().st_size if os.path.lexists(self.loot) else -1

    def shared_file(self) -> bool:
        """Whether there is a POSIX shared memory segment of the plugin's."""
        return Path("/dev/shm", self.shared_name).exists()  # noqa: S108  where Linux keeps them

    def system_v(self, kind: str) -> list[int]:
        """The ids of the System V objects (``shm``, ``msg``, ``sem``) under the plugin's key."""
        lines = Path("/proc/sysvipc", kind).read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return [int(row[1]) for row in rows if int(row[0]) == self.ipc_key]

    def user_key(self) -> int:
        """The serial of the key that the plugin left on the user's keyring; -1 when there is none."""
        libc = ctypes.CDLL(None)
        name = self.shared_name.encode()
        return int(libc.syscall(REQUEST_KEY[os.uname().machine], b"user", name, None, KEY_SPEC_USER_KEYRING))

    async def _listen(self) -> dict[str, Any]:
        def arrived(name: str) -> Any:
            def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.arrivals[name] += 1
                writer.close()

            return count

        path, abstract = str(self.folder / "socket"), f"outlet-attacked-{secrets.token_hex(6)}"
        tcp = await asyncio.start_server(arrived("tcp"), "127.0.0.1", 0)
        servers = [
            tcp,
            await asyncio.start_unix_server(arrived("unix"), path),
            await asyncio.start_unix_server(arrived("abstract"), f"\0{abstract}"),
        ]
        for server in servers:
            self._stack.callback(server.close)
        found: dict[str, Any] = {"tcp": tcp.sockets[0].getsockname()[1], "unix": path, "abstract": abstract}
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # the machine may have no IPv6 address; then the attack fails bare
                sixth = await asyncio.start_server(arrived("tcp6"), "::1", 0)
                self._stack.callback(sixth.close)
                found["tcp6"] = sixth.sockets[0].getsockname()[1]
        udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(self.arrivals), ("127.0.0.1", 0)
        )
        self._stack.callback(udp.close)
        found["udp"] = udp.get_extra_info("sockname")[1]
        # Bound and not listening: the kernel gives the port to nobody else, and an attack can still listen on it.
        free = self._stack.enter_context(socket.socket())
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        found["free"] = free.getsockname()[1]
        knocking = asyncio.create_task(self._knock(found["free"]))
        self._stack.callback(knocking.cancel)
        return found

    async def _knock(self, port: int) -> None:
        """Call at the port that the plugin may listen on."""
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                self.arrivals["knock"] += 1
                writer.close()
            await asyncio.sleep(KNOCK_SECONDS)

    def _remove_shared(self) -> None:
        libc = ctypes.CDLL(None)
        for number in self.system_v("shm"):
            libc.shmctl(number, IPC_RMID, None)
        for number in self.system_v("msg"):
            libc.msgctl(number, IPC_RMID, None)
        with contextlib.suppress(FileNotFoundError):
            Path("/dev/shm", self.shared_name).unlink()  # noqa: S108  as above
        if (key := self.user_key()) > 0:
            libc.syscall(KEYCTL[os.uname().machine], KEYCTL_REVOKE, key)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, arrivals: Counter[str]) -> None:
        self._arrivals = arrivals

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._arrivals["udp"] += 1
