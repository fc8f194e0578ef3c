"""A registry whose organizations pay by a stand-in for Stripe, through Stripe's own library."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from outlet.local.broker import Broker
from tests.gateway.support import serving
from tests.registry.licences.stripe_server import SECRET, FakeStripe
from tests.registry.platform import LocalRegistry, running_registry


@pytest.fixture(scope="session")
async def stripe_registry(
    database: Callable[[str], Awaitable[str]], workers_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[LocalRegistry, FakeStripe]]:
    stripe, broker = FakeStripe(), Broker()
    await broker.start()
    directory = tmp_path_factory.mktemp("issuer") / "keys"
    try:
        async with (
            serving(stripe.app()) as url,
            running_registry(
                await database("licences"),
                workers_url,
                broker.bootstrap,
                directory,
                payment_provider="stripe",
                stripe_api_key="sk_test_of_nobody",
                stripe_webhook_secret=SECRET,
                stripe_api_base=url,
                licence_seconds=3600,
            ) as running,
        ):
            yield running, stripe
    finally:
        await broker.stop()


@pytest.fixture
def shop(stripe_registry: tuple[LocalRegistry, FakeStripe]) -> LocalRegistry:
    return stripe_registry[0]


@pytest.fixture(autouse=True)
def stripe(stripe_registry: tuple[LocalRegistry, FakeStripe]) -> FakeStripe:
    found = stripe_registry[1]
    found.requests.clear()
    found.fails = None
    return found
