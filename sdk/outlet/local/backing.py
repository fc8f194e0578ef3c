"""What the services stand on: broker, databases and Redis, each embedded unless the environment names a real one."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from outlet.local.broker import Broker
from outlet.local.keeper import Keeper, Report, Reporter
from outlet.local.postgres import Postgres
from outlet.local.together import together
from outlet.local.valkey import Valkey

KAFKA = "OUTLET_KAFKA_BOOTSTRAP"
REDIS = "OUTLET_REDIS_URL"
DATABASES = {"registry": "OUTLET_REGISTRY_DATABASE_URL", "runtime": "OUTLET_RUNTIME_DATABASE_URL"}


class Backing:
    """The parts below the services. The addresses are valid between `start` and `stop`."""

    def __init__(self, directory: Path, environ: Mapping[str, str], *, durable: bool, report: Reporter) -> None:
        self.bootstrap = environ.get(KAFKA, "")
        """``host:port`` of the Kafka broker."""
        self.redis_url = environ.get(REDIS, "")
        self.database_urls = {owner: environ.get(variable, "") for owner, variable in DATABASES.items()}
        """``postgresql://...`` by owning service: registry, runtime."""
        logs = directory / "logs"
        self._report = report
        self._broker = None if self.bootstrap else Broker()
        self._valkey = None if self.redis_url else Valkey(directory / "valkey", log=logs / "valkey.log")
        self._embedded_databases = [owner for owner, url in self.database_urls.items() if not url]
        self._postgres = (
            Postgres(directory / "postgres", durable=durable, log=logs / "postgres.log")
            if self._embedded_databases
            else None
        )
        self._keepers: list[Keeper[Postgres | Valkey]] = [
            Keeper(part, report) for part in (self._postgres, self._valkey) if part
        ]

    @property
    def embedded_broker(self) -> bool:
        """Whether Kafka is the in-memory broker, with its limits."""
        return self._broker is not None

    async def start(self) -> None:
        """Start the embedded parts, all at once, and create the databases the services need."""
        await together(self._start_broker(), *(keeper.start() for keeper in self._keepers))
        if self._valkey:
            self.redis_url = self._valkey.url
        if self._postgres:
            for owner in self._embedded_databases:
                await self._postgres.create_database(owner)
                self.database_urls[owner] = self._postgres.dsn(owner)

    async def stop(self, grace: float) -> None:
        """End the embedded parts within ``grace`` seconds, and by force after that."""
        await asyncio.gather(*(keeper.stop(grace) for keeper in self._keepers))
        if self._broker and self._broker.running:
            await self._broker.stop()
            self._report(Report(self._broker.name, "stopped"))

    async def _start_broker(self) -> None:
        if self._broker:
            self._report(Report(self._broker.name, "starting"))
            await self._broker.start()
            self.bootstrap = self._broker.bootstrap
            self._report(Report(self._broker.name, "ready"))
