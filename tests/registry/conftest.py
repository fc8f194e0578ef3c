"""A registry on real parts: PostgreSQL, a Redis-protocol server, a Kafka-protocol broker, and a worker of the tests."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from outlet.local.broker import Broker
from tests.registry.platform import Client, LocalRegistry, Registry, running_registry
from tests.registry.worker import FakeWorker, running_worker

WORKERS_DATABASE = 5  # other tests announce workers of their own


@pytest.fixture(scope="session")
def workers_url(redis_url: str) -> str:
    """Where the workers of these tests, and no others, announce themselves."""
    return f"{redis_url.rpartition('/')[0]}/{WORKERS_DATABASE}"


@pytest.fixture(scope="session")
async def registry_bootstrap() -> AsyncIterator[str]:
    """A broker of the registry's own: it makes the topic of installations hold what its database holds."""
    broker = Broker()
    await broker.start()
    yield broker.bootstrap
    await broker.stop()


@pytest.fixture
async def kafka_brokers() -> AsyncIterator[list[str]]:
    """Two empty brokers for one test."""
    brokers = [Broker(), Broker()]
    for broker in brokers:
        await broker.start()
    yield [broker.bootstrap for broker in brokers]
    for broker in brokers:
        await broker.stop()


@pytest.fixture(scope="session")
async def registry(
    database: Callable[[str], Awaitable[str]],
    workers_url: str,
    registry_bootstrap: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[LocalRegistry]:
    """One registry for all tests that do not restart it; each uses organizations and plugins of its own."""
    directory = tmp_path_factory.mktemp("issuer") / "keys"
    async with running_registry(await database("registry"), workers_url, registry_bootstrap, directory) as running:
        yield running


@pytest.fixture
async def worker(workers_url: str) -> AsyncIterator[FakeWorker]:
    """A live worker."""
    async with running_worker(workers_url) as running:
        yield running


@pytest.fixture
def owner(registry: Registry) -> Client:
    """The owner of an organization of the test's own."""
    return registry.caller("owner")


@pytest.fixture
async def plugin_id(registry: Registry) -> str:
    """A published plugin of the test's own."""
    return await registry.publish()
