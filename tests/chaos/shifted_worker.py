"""A worker of the group whose wall clock can be stepped while it runs: libfaketime stands before its C library.

Its monotonic clock, which timeouts are measured by, goes on as it should, as it does when NTP or an operator steps the
clock of a machine. (https://github.com/wolfcw/libfaketime)
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from deploy.local.programs import find
from outlet.local.backing import Backing
from outlet.local.errors import PlatformError
from outlet.local.health import grpc_ready
from outlet.local.issuer import Issuer
from outlet.local.keeper import Keeper, Reporter
from outlet.local.network import free_ports
from outlet.local.secret_keys import VARIABLE, secret_keys
from outlet.local.service import Service
from outlet.local.stack import Stack
from outlet.local.wiring import INSTANCE, Ports, environments

NAME = "runtime-shifted"


def library() -> Path:
    """libfaketime for programs with threads. Raises `PlatformError`, whose remedy names the package."""
    find("faketime", package="faketime")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise PlatformError("libfaketimeMT.so.1 is not below /usr/lib", "Install the package faketime of Debian.")
    return found[0]


class ShiftedWorker:
    """One more worker beside those of ``stack``, which must have been started; it is started again when it dies."""

    def __init__(self, stack: Stack, environ: Mapping[str, str], report: Reporter) -> None:
        self._shift = stack.directory / "clock"
        self.step(0)
        port, metrics = free_ports(2)
        told = _environment(stack, environ, port, metrics) | {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._shift),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        log = stack.logs / f"{NAME}.log"
        self._keeper = Keeper(Service(NAME, "services.runtime", told, partial(grpc_ready, port), log), report)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._keeper.part.pid

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        await self._keeper.start()

    async def ready(self) -> None:
        """Wait until it is ready, again or for the first time."""
        await self._keeper.ready.wait()

    async def stop(self) -> None:
        """End it for good."""
        await self._keeper.stop(grace=3.0)

    def step(self, seconds: int) -> None:
        """Let its clock be so many seconds ahead of the machine's, within a second from now."""
        fresh = self._shift.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self._shift)


def _environment(stack: Stack, environ: Mapping[str, str], port: int, metrics: int) -> dict[str, str]:
    """What a worker of the stack is told, but for its ports."""
    registry = int(stack.registry_url.rpartition(":")[2])
    ports = Ports(
        gateway=0, registry=registry, ui_components=0, insights=0, runtime=(port,), runtime_metrics=(metrics,)
    )
    # Every part is a real one, so there is nothing of it to start: it only names their addresses.
    backing = Backing(stack.directory, environ, durable=False, report=lambda _: None)
    if INSTANCE in environ:
        environ = {**environ, INSTANCE: f"{environ[INSTANCE]}-shifted"}
    (told,) = environments("runtime", ports, backing, Issuer.open(stack.directory / "issuer"), environ)
    return told | {VARIABLE: secret_keys(stack.directory, environ)}
