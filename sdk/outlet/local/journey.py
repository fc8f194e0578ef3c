"""The whole loyalty programme on a running platform, step by step, and what differed from what was expected."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from outlet.local.client import GatewayClient, TokenSource
from outlet.local.scenario import (
    INJECTION_POINT,
    PLUGIN_ID,
    Trade,
    balance,
    components,
    deliver,
    redeem,
    set_up,
    settled_points,
    switch,
)
from outlet.package import Package
from outlet.samples.records import record

REDEEMING_CUSTOMERS = 5
SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class Platform:
    """The doors of a running platform, and who mints its tokens."""

    gateway_url: str
    bootstrap: str
    token: TokenSource


@dataclass(frozen=True)
class Outcome:
    """What happened. ``seconds`` is wall time; ``hooks_per_second`` counts from the first record produced to the last
    offset committed."""

    events: int
    points_expected: int
    points_awarded: int
    redelivered: int
    hooks_per_second: int
    customers: int
    route_status: int
    points_redeemed: int
    overdraw_status: int
    components: int
    inactive_route_status: int
    points_awarded_while_inactive: int
    seconds: float
    differences: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        return not self.differences

    def summary(self) -> Mapping[str, Any]:
        """The figures, for a program to read."""
        return asdict(self)


class Journey:
    """Runs the steps in order on one platform, telling ``report`` about each in a sentence.

    ``patience`` is how many seconds balances may take to become what is expected once all sales are processed.
    """

    def __init__(
        self,
        platform: Platform,
        package: Package,
        trade: Trade,
        report: Callable[[str], None],
        *,
        patience: float = 30.0,
    ) -> None:
        self._platform = platform
        self._package = package
        self._trade = trade
        self._report = report
        self._patience = patience
        self._till = trade.stores[0]
        self._differences: list[str] = []

    async def run(self) -> Outcome:
        """From the catalogue to the deactivation. Raises what a refused or unanswered step raises."""
        started = time.perf_counter()
        token, organization = self._platform.token, self._trade.organization
        async with GatewayClient(self._platform.gateway_url, token, organization) as client:
            installation = await self._set_up(client)
            rate = await self._deliver()
            balances = await self._compare_points(client)
            route_status = await self._route_status(client)
            redeemed, overdraw_status = await self._redeem(client, balances)
            shown = await self._components(client, expected=1)
            self._report(f"{INJECTION_POINT} shows {shown} component in each of {len(self._trade.stores)} stores")
            inactive_status, awarded_inactive = await self._deactivate(client, installation)
        return Outcome(
            events=len(self._trade.tickets),
            points_expected=sum(self._trade.expected.values()),
            points_awarded=sum(balances.values()),
            redelivered=self._trade.redelivered,
            hooks_per_second=rate,
            customers=len(balances),
            route_status=route_status,
            points_redeemed=redeemed,
            overdraw_status=overdraw_status,
            components=shown,
            inactive_route_status=inactive_status,
            points_awarded_while_inactive=awarded_inactive,
            seconds=round(time.perf_counter() - started, 2),
            differences=tuple(self._differences),
        )

    async def _set_up(self, client: GatewayClient) -> str:
        installation = await set_up(client, self._package.data, self._trade.stores)
        manifest = self._package.manifest
        self._report(
            f"{manifest.name} {manifest.version} published, installed for {len(self._trade.stores)} stores, active"
        )
        return installation

    async def _deliver(self) -> int:
        stream, late = self._trade.stream, self._trade.late
        started = time.perf_counter()
        await deliver(self._platform.bootstrap, stream)
        rate = round(len(self._trade.tickets) / (time.perf_counter() - started))
        repeated = len(stream) - len(self._trade.tickets)
        self._report(
            f"{len(self._trade.tickets):,} sales delivered and processed, {repeated} of them twice: {rate:,} hooks/s"
        )
        await deliver(self._platform.bootstrap, late)
        self._report(f"{len(late)} more delivered again after everything else")
        return rate

    async def _compare_points(self, client: GatewayClient) -> dict[str, int]:
        expected = self._trade.expected
        balances = await settled_points(client, expected, self._trade.stores, within=self._patience)
        wrong = [customer for customer, points in expected.items() if balances[customer] != points]
        for customer in wrong[:SHOWN_DIFFERENCES]:
            self._check(f"points of {customer}", balances[customer], expected[customer])
        if len(wrong) > SHOWN_DIFFERENCES:
            self._differences.append(f"points of {len(wrong) - SHOWN_DIFFERENCES} more customers differ")
        self._report(
            f"{len(balances)} balances read through the gateway: {len(balances) - len(wrong)} exactly as expected"
        )
        return balances

    async def _route_status(self, client: GatewayClient) -> int:
        customer = next(iter(self._trade.expected))
        response = await client.route("GET", PLUGIN_ID, f"/points/{customer}", store=self._till)
        self._check("status of the plugin's route", response.status_code, 200)
        return response.status_code

    async def _redeem(self, client: GatewayClient, balances: Mapping[str, int]) -> tuple[int, int]:
        """Redeem half of the richest customers' points, each request sent twice; then try to take more than is left."""
        richest = sorted(balances, key=lambda customer: balances[customer], reverse=True)[:REDEEMING_CUSTOMERS]
        redeemed = 0
        for customer in richest:
            half = balances[customer] // 2
            for _ in range(2):
                status, _ = await redeem(client, customer, half, store=self._till, reference=f"demo-{customer}")
                self._check(f"status of redeeming points of {customer}", status, 200)
            left = await balance(client, customer, self._till)
            self._check(f"points of {customer} after redeeming {half}", left, balances[customer] - half)
            redeemed += balances[customer] - left
        poor, left = richest[-1], await balance(client, richest[-1], self._till)
        overdraw_status, problem = await redeem(client, poor, left + 1, store=self._till, reference="demo-overdraw")
        self._check(
            "answer to redeeming too many points", (overdraw_status, problem.get("code")), (409, "insufficient_points")
        )
        self._check("points after redeeming too many", await balance(client, poor, self._till), left)
        self._report(
            f"{redeemed:,} points redeemed by {len(richest)} customers; one more than there were: {overdraw_status}"
        )
        return redeemed, overdraw_status

    async def _components(self, client: GatewayClient, *, expected: int) -> int:
        """How many components the screens show: the same in every store, or a difference."""
        shown = {store: len(await components(client, store)) for store in self._trade.stores}
        for store, count in shown.items():
            self._check(f"components at {INJECTION_POINT} in {store}", count, expected)
        return shown[self._till]

    async def _deactivate(self, client: GatewayClient, installation: str) -> tuple[int, int]:
        """Deactivate, let one more sale pass, and look at the balance through the plugin activated again."""
        customer, organization = str(self._trade.further["customerId"]), self._trade.organization
        before = await balance(client, customer, self._till)
        await switch(client, installation, self._trade.stores, active=False)
        refused = await client.route("GET", PLUGIN_ID, f"/points/{customer}", store=self._till)
        self._check("status of an inactive plugin's route", refused.status_code, 409)
        await self._components(client, expected=0)
        await deliver(self._platform.bootstrap, [record("sale", self._trade.further, organization=organization)])
        await switch(client, installation, self._trade.stores, active=True)
        awarded = await balance(client, customer, self._till) - before
        self._check("points awarded while inactive", awarded, 0)
        self._report(
            f"deactivated: {INJECTION_POINT} shows nothing of it, its route answers {refused.status_code}, "
            f"a further sale awards {awarded} points"
        )
        return refused.status_code, awarded

    def _check(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            self._differences.append(f"{what}: {actual}, expected {expected}")
