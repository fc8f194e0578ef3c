"""The embedded PostgreSQL, Valkey and Kafka-protocol broker: a second or less to start, so tests use them freely."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest

from outlet.local.broker import Broker
from outlet.local.postgres import Postgres
from outlet.local.valkey import Valkey


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A PostgreSQL server for the whole test run."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), durable=False)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Callable[[str], Awaitable[str]]:
    """``await database("registry")`` makes an empty database, a new one at each call, and returns its plain dsn."""
    numbers = count(1)

    async def create(name: str) -> str:
        unique = f"{name}_{next(numbers)}"
        await postgres.create_database(unique)
        return postgres.dsn(unique)

    return create


@pytest.fixture(scope="session")
async def redis_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A Redis-protocol server for the whole test run; never emptied, so use keys of your own."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture(scope="session")
async def kafka_bootstrap() -> AsyncIterator[str]:
    """``host:port`` of a broker for the whole test run. Topics appear on first use; one aiokafka member per group."""
    broker = Broker()
    await broker.start()
    yield broker.bootstrap
    await broker.stop()


@pytest.fixture
async def fresh_kafka_bootstrap() -> AsyncIterator[str]:
    """Like `kafka_bootstrap`, with no topic yet, for one test: for those that need the platform's own topics empty."""
    broker = Broker()
    await broker.start()
    yield broker.bootstrap
    await broker.stop()
