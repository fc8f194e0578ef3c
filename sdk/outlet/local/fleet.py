"""The services of the platform as supervised processes."""

import asyncio
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from outlet.local.backing import Backing
from outlet.local.errors import PlatformError
from outlet.local.health import grpc_ready, http_ready
from outlet.local.issuer import Issuer
from outlet.local.keeper import Keeper, Reporter
from outlet.local.service import Service
from outlet.local.together import together
from outlet.local.wiring import PORT_VARIABLES, Ports, environments

START_ORDER = (("registry",), ("runtime", "insights", "ui_components"), ("gateway",))
"""Later ones ask earlier ones while they start; those of one step start at once."""
MODULES = {"insights": "runtime.insights"}
"""Where the module of a service has another name than the service."""


class Fleet:
    """The service processes. ``package`` holds the modules that are run: ``<package>.registry`` and so on."""

    def __init__(
        self,
        ports: Ports,
        backing: Backing,
        issuer: Issuer,
        *,
        environ: Mapping[str, str],
        logs: Path,
        package: str,
        report: Reporter,
    ) -> None:
        self._keepers: dict[str, list[Keeper[Service]]] = {}
        for service in PORT_VARIABLES:
            probe = grpc_ready if service == "runtime" else http_ready
            module = f"{package}.{MODULES.get(service, service)}"
            told = environments(service, ports, backing, issuer, environ)
            self._keepers[service] = [
                Keeper(
                    Service(name, module, environment, partial(probe, port), logs / f"{name}.log"),
                    report,
                )
                for name, port, environment in zip(_names(service, ports), ports.of(service), told, strict=True)
            ]

    @property
    def pids(self) -> Mapping[str, list[int | None]]:
        """Process ids by service; None for a process that is not running."""
        return {service: [keeper.part.pid for keeper in keepers] for service, keepers in self._keepers.items()}

    async def start(self) -> None:
        """Start all services, in order; returns when the last one is ready."""
        for step in START_ORDER:
            await self.start_services(*step)

    async def start_services(self, *services: str) -> None:
        """Start these services at once and wait until they are ready."""
        await together(*(keeper.start() for service in services for keeper in self._keepers[service]))

    async def stop_services(self, *services: str, grace: float) -> None:
        """End these services at once, by force after ``grace`` seconds."""
        await asyncio.gather(*(keeper.stop(grace) for service in services for keeper in self._keepers[service]))

    def kill(self, service: str, index: int) -> int:
        """SIGKILL to one process; returns the pid it had. It is started again."""
        pid = self.pids[service][index]
        if pid is None:
            raise PlatformError(f"process {index} of {service} is not running")
        self._keepers[service][index].ready.clear()
        os.kill(pid, signal.SIGKILL)
        return pid

    async def ready(self, service: str, index: int) -> None:
        """Wait until one process is ready, again or for the first time."""
        await self._keepers[service][index].ready.wait()


def _names(service: str, ports: Ports) -> list[str]:
    count = len(ports.of(service))
    return [service] if count == 1 else [f"{service}-{number + 1}" for number in range(count)]
