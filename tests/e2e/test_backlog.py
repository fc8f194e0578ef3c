"""Sales that are made while a plugin is off: kept for it, or not, as whoever switched it off has said."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from outlet.local import scenario
from outlet.local.client import Backlog, GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package
from outlet.samples import Sale, points_of, retailer, sales
from outlet.samples.records import record
from tests.e2e.support import Caller, environment

ORGANIZATION = "pausing"
STORE = "store-1"

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Platform:
    stack: Stack
    client: GatewayClient
    caller: Caller
    installation: str

    async def off_and_on(self, backlog: Backlog, begin_at: str, customer: str) -> int:
        """Switch the plugin off, let a sale pass, switch it on; the points that the sale is worth."""
        earning = next(each for each in sales(retailer(), 50) if points_of(each) > 0)
        sale: Sale = {**earning, "id": f"sale-{customer}", "customerId": customer}
        await self.client.deactivate(self.installation, backlog=backlog)
        await scenario.rolled_out(self.client, self.installation, "inactive")
        await scenario.deliver(self.stack.bootstrap, [record("sale", sale, organization=ORGANIZATION)])
        answer = await self.caller.ask("POST", f"/api/plugins/{self.installation}/activate?from={begin_at}")
        assert answer.status_code == 200, answer.text
        await scenario.rolled_out(self.client, self.installation, "active")

        async def serves() -> bool:
            return (await self.client.route("GET", "loyalty-points", "/points/nobody", store=STORE)).status_code == 200

        await until(serves, within=15, what="the plugin serves again")
        return points_of(sale)

    async def balance(self, customer: str) -> int:
        return await scenario.balance(self.client, customer, STORE)


@pytest.fixture(scope="module")
async def platform(loyalty: Package, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with (
        Stack(tmp_path_factory.mktemp("platform"), environ=environment(), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        installation = await scenario.set_up(client, loyalty.data, [STORE])
        yield Platform(stack, client, caller, installation)


async def test_a_sale_made_meanwhile_counts_once_the_plugin_is_on_again(platform: Platform) -> None:
    worth = await platform.off_and_on("pause", "where-it-stopped", "kept")

    async def counts() -> bool:
        return await platform.balance("kept") == worth

    await until(counts, within=30, what="the sale that was kept counts")


@pytest.mark.parametrize(("backlog", "begin_at"), [("pause", "now"), ("discard", "where-it-stopped")])
async def test_a_sale_that_was_given_up_never_counts(platform: Platform, backlog: Backlog, begin_at: str) -> None:
    customer = f"{backlog}-{begin_at}"
    await platform.off_and_on(backlog, begin_at, customer)
    # What was kept would run before anything that comes later; so once this one counts, the other would have.
    worth = await platform.off_and_on("pause", "where-it-stopped", f"{customer}-later")

    async def counts() -> bool:
        return await platform.balance(f"{customer}-later") == worth

    await until(counts, within=30, what="a later sale counts")
    assert await platform.balance(customer) == 0
