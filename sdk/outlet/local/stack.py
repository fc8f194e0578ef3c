"""The whole platform on one machine: parts, issuer and the services, started in order, watched over and ended."""

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from outlet.local.backing import Backing
from outlet.local.errors import PlatformError
from outlet.local.fleet import Fleet
from outlet.local.issuer import Issuer
from outlet.local.keeper import Report, Reporter
from outlet.local.lock import DirectoryLock
from outlet.local.network import LOOPBACK
from outlet.local.secret_keys import VARIABLE as SECRET_KEYS
from outlet.local.secret_keys import secret_keys
from outlet.local.wiring import Ports, url

DEFAULT_DIRECTORY = Path(".outlet")
STOP_DEADLINES = {"gateway": 1.5, "services": 3.0, "parts": 4.5}
"""Seconds after the wish to stop at which what is left of each layer is ended by force."""


def _say_nothing(_: Report) -> None:
    pass


class Stack:
    """The platform; use it as an async context manager, from the main thread (see `outlet.local.process`).

    - ``directory``: data, logs and the development issuer; kept between runs.
    - ``port``: where the gateway listens on loopback; None: any free port. The other services take free ports, or those
      of ``OUTLET_REGISTRY_PORT``, ``OUTLET_RUNTIME_PORT``, ``OUTLET_INSIGHTS_PORT`` and ``OUTLET_UI_COMPONENTS_PORT``.
    - ``workers``: runtime workers; more than one need a real Kafka.
    - ``environ``: the environment (default: this process's). Names the real parts that replace embedded ones, and is
      passed on to the services.
    - ``report``: called at every change of a part's state.
    - ``durable=False`` (tests): the embedded database need not survive a power failure.
    - ``package``: where the service modules are.

    Entering raises PlatformError when something does not start; nothing is left running then.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        port: int | None = None,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
        report: Reporter = _say_nothing,
        durable: bool = True,
        package: str = "services",
    ) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self._environ = dict(os.environ if environ is None else environ)
        self._ports = Ports.choose(port, workers, self._environ)
        self._report = report
        self._package = package
        self._lock = DirectoryLock(self.directory)
        self._backing = Backing(self.directory, self._environ, durable=durable, report=report)
        self._issuer: Issuer | None = None
        self._fleet: Fleet | None = None

    @property
    def gateway_url(self) -> str:
        return url(self._ports.gateway)

    @property
    def registry_url(self) -> str:
        return url(self._ports.registry)

    @property
    def ui_components_url(self) -> str:
        return url(self._ports.ui_components)

    @property
    def runtime_addresses(self) -> list[str]:
        """``host:port`` of each runtime worker's gRPC server."""
        return [f"{LOOPBACK}:{port}" for port in self._ports.runtime]

    @property
    def runtime_metrics_urls(self) -> list[str]:
        """Where each runtime worker shows its metrics and health over HTTP."""
        return [url(port) for port in self._ports.runtime_metrics]

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the Kafka broker."""
        return self._backing.bootstrap

    @property
    def embedded_broker(self) -> bool:
        """Whether Kafka is the in-memory broker, with its limits."""
        return self._backing.embedded_broker

    @property
    def redis_url(self) -> str:
        return self._backing.redis_url

    @property
    def database_urls(self) -> Mapping[str, str]:
        """``postgresql://...`` by owning service: registry, runtime."""
        return self._backing.database_urls

    @property
    def issuer(self) -> Issuer:
        """Mints tokens that this platform believes. Raises PlatformError before the start."""
        if self._issuer is None:
            raise PlatformError("the platform was not started")
        return self._issuer

    @property
    def pids(self) -> Mapping[str, list[int | None]]:
        """Process ids by service (registry, runtime, insights, ui_components, gateway); None: it is not running."""
        return self._started.pids

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything and return when the whole platform is ready."""
        self._check()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._ports.check()
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self._issuer = Issuer.create(self.directory / "issuer")
            self._environ[SECRET_KEYS] = secret_keys(self.directory, self._environ)
            await self._backing.start()
            self._fleet = Fleet(
                self._ports,
                self._backing,
                self._issuer,
                environ=self._environ,
                logs=self.logs,
                package=self._package,
                report=self._report,
            )
            await self._fleet.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything, in under 5 seconds: the door first, the parts that the services stand on last."""
        begun = time.monotonic()

        def grace(layer: str) -> float:
            return max(0.1, begun + STOP_DEADLINES[layer] - time.monotonic())

        try:
            if self._fleet:
                await self._fleet.stop_services("gateway", grace=grace("gateway"))
                await self._fleet.stop_services(
                    "registry", "runtime", "insights", "ui_components", grace=grace("services")
                )
            await self._backing.stop(grace("parts"))
        finally:
            self._lock.release()

    def kill(self, service: str, index: int = 0) -> int:
        """SIGKILL to a process of a service, as a crash would; it is started again. Returns the pid it had."""
        return self._started.kill(service, index)

    async def ready(self, service: str, index: int = 0) -> None:
        """Wait until a process of a service is ready, again after `kill`."""
        await self._started.ready(service, index)

    async def stop_service(self, service: str) -> None:
        """End a service, all its processes, and leave it ended until `start_service`."""
        await self._started.stop_services(service, grace=STOP_DEADLINES["services"])

    async def start_service(self, service: str) -> None:
        """Start a service that `stop_service` ended, and wait until it is ready."""
        await self._started.start_services(service)

    @property
    def _started(self) -> Fleet:
        if self._fleet is None:
            raise PlatformError("the platform was not started")
        return self._fleet

    def _check(self) -> None:
        if len(self._ports.runtime) > 1 and self.embedded_broker:
            raise PlatformError(
                "the embedded broker carries one runtime worker only",
                "Set OUTLET_KAFKA_BOOTSTRAP to a real Kafka to run more workers.",
            )
        if find_spec(self._package) is None:
            raise PlatformError(
                f"the services of the platform (package {self._package!r}) are not installed here",
                "Use the Python environment of an Outlet checkout: make install, then .venv/bin/outlet.",
            )
