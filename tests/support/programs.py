"""Real parts from programs on this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local import Kafka, Part, Postgres, Redis
from outlet.local.errors import PlatformError
from tests.support.selection import RealPart

_PARTS: dict[RealPart, type[Part]] = {
    RealPart.KAFKA: Kafka,
    RealPart.POSTGRES: Postgres,
    RealPart.REDIS: Redis,
}


def missing_program(part: RealPart) -> str | None:
    """Which program this machine lacks for `part`, and what to do about it; None when it has all."""
    try:
        _PARTS[part].require_programs()
    except PlatformError as error:
        return f"{error.message} ({error.remedy})"
    return None


@asynccontextmanager
async def kafka_program(directory: Path) -> AsyncIterator[dict[str, str]]:
    """A Kafka broker, as the variables that name it."""
    async with Kafka(directory) as kafka:
        yield {"OUTLET_KAFKA_BOOTSTRAP": kafka.bootstrap}


@asynccontextmanager
async def postgres_program(directory: Path) -> AsyncIterator[dict[str, str]]:
    """A PostgreSQL server with an empty database for each service, as the variables that name them."""
    # Tests crash processes, not the machine: what reached the kernel is not lost, so nothing waits for the disk.
    async with Postgres(directory, {"fsync": "off"}) as postgres:
        yield {
            "OUTLET_REGISTRY_DATABASE_URL": await postgres.create_database("outlet_registry"),
            "OUTLET_RUNTIME_DATABASE_URL": await postgres.create_database("outlet_runtime"),
        }


@asynccontextmanager
async def redis_program(directory: Path) -> AsyncIterator[dict[str, str]]:
    """A Redis server, as the variable that names it."""
    async with Redis(directory) as redis:
        yield {"OUTLET_REDIS_URL": redis.url}
