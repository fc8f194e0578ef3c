"""Real parts from containers."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local.kafka import broker_settings
from deploy.local.ports import free_ports

KAFKA_IMAGE = "apache/kafka:4.4.0"
POSTGRES_IMAGE = "postgres:18-alpine"
REDIS_IMAGE = "redis:8-alpine"
_PASSWORD = "outlet"  # of a server that lives as long as the test run


def docker_answers() -> bool:
    """Whether a Docker engine answers; the client alone is not enough."""
    with warnings.catch_warnings():
        # Without an engine, docker's client leaves behind the socket that it could not connect.
        warnings.simplefilter("ignore", ResourceWarning)
        with suppress(DockerException):
            client = DockerClient().client
            client.ping()
            client.close()
            return True
        gc.collect()
    return False


@asynccontextmanager
async def kafka_container(_: Path) -> AsyncIterator[dict[str, str]]:
    """An Apache Kafka broker, as the variable that names it."""
    # Clients are sent to the address the broker advertises, so the port must be known before it starts, and be the same
    # on both sides, since the broker is a client of itself.
    (port,) = free_ports(1)
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port)
    bootstrap = f"{container.get_container_host_ip()}:{port}"
    container.with_envs(**kafka_variables(port, bootstrap))
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))
    async with _running(container):
        yield {"OUTLET_KAFKA_BOOTSTRAP": bootstrap}


def kafka_variables(port: int, bootstrap: str) -> dict[str, str]:
    """The broker's settings as the image takes them: ``node.id`` is ``KAFKA_NODE_ID``."""
    settings = broker_settings(listen=f"0.0.0.0:{port}", advertise=bootstrap, controller_port=port + 1)
    return {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in settings.items()}


@asynccontextmanager
async def postgres_container(_: Path) -> AsyncIterator[dict[str, str]]:
    """A PostgreSQL server with an empty database for each service, as the variables that name them."""
    container = PostgresContainer(
        POSTGRES_IMAGE, username="postgres", password=_PASSWORD, dbname="postgres", driver=None
    )
    async with _running(container):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
        connection = await asyncpg.connect(f"postgresql://postgres:{_PASSWORD}@{address}/postgres")
        # As on a managed database, Outlet's role is no superuser.
        await connection.execute(f"CREATE ROLE outlet LOGIN CREATEDB PASSWORD '{_PASSWORD}'")
        for service in ("registry", "runtime"):
            await connection.execute(f"CREATE DATABASE outlet_{service} OWNER outlet")
        await connection.close()
        outlet = f"postgresql://outlet:{_PASSWORD}@{address}"
        yield {
            "OUTLET_REGISTRY_DATABASE_URL": f"{outlet}/outlet_registry",
            "OUTLET_RUNTIME_DATABASE_URL": f"{outlet}/outlet_runtime",
        }


@asynccontextmanager
async def redis_container(_: Path) -> AsyncIterator[dict[str, str]]:
    """A Redis server, as the variable that names it."""
    container = RedisContainer(REDIS_IMAGE)
    async with _running(container):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
        yield {"OUTLET_REDIS_URL": f"redis://{address}/0"}


@asynccontextmanager
async def _running(container: DockerContainer) -> AsyncIterator[None]:
    try:
        await asyncio.to_thread(container.start)
        yield
    finally:
        await asyncio.to_thread(container.stop)
