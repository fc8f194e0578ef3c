"""The plugin on the platform in memory: what customers, tills and the organization see."""

import tomllib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loyalty_points import ledger
from loyalty_points.settings import DEFAULTS

from outlet.testing import Answer, InstalledPlugin, Platform

ROOT = Path(__file__).parents[1]


class Shop:
    """What happens around the plugin: sales arrive, tills ask; each in a transaction of its own."""

    def __init__(self, plugin: InstalledPlugin, moments: Callable[[], datetime]) -> None:
        self._plugin = plugin
        self._moments = moments

    async def sell(self, sale: str, net: str, customer: str | None = "c-1", **members: Any) -> None:
        lines = [{"kind": "merchandise", "netAmount": net}]
        data = {"id": sale, "status": "completed", "customerId": customer, "lines": lines, **members}
        await self._plugin.send("sale.created", data, id=f"e-{sale}", store="s-1", time=self._moments())

    async def read(self, customer: str = "c-1") -> dict[str, Any]:
        answer: dict[str, Any] = (await self._plugin.get(f"/points/{customer}", store="s-1")).json()
        return answer

    async def ask(self, body: Any, customer: str = "c-1") -> Answer:
        sent = {"body": body} if isinstance(body, bytes) else {"json": body}
        return await self._plugin.call("POST", f"/points/{customer}/redeem", store="s-1", **sent)

    async def redeem(self, body: Any, customer: str = "c-1") -> dict[str, Any]:
        answer = await self.ask(body, customer)
        assert answer.status == 200, answer.body
        redeemed: dict[str, Any] = answer.json()
        return redeemed

    async def refused(self, body: Any, customer: str = "c-1") -> tuple[int, str | None]:
        answer = await self.ask(body, customer)
        return answer.status, answer.code


@pytest.fixture
def shop(outlet_plugin: InstalledPlugin, moments: Callable[[], datetime]) -> Shop:
    return Shop(outlet_plugin, moments)


def said(plugin: InstalledPlugin) -> list[tuple[str, Any]]:
    """The events that the plugin emitted."""
    return [(each.event, each.data) for each in plugin.emitted]


async def test_installing_makes_the_tables_and_writes_down_the_defaults(
    outlet_plugin: InstalledPlugin, shop: Shop
) -> None:
    assert [outlet_plugin.rows(table) for table in ("accounts", "transactions")] == [[], []]
    assert outlet_plugin.config == {"pointsPerDollar": 1, "redemptionRate": "0.01"}


async def test_installing_keeps_what_the_organization_chose(
    outlet_platform: Platform, outlet_plugin_folder: Path
) -> None:
    plugin = await outlet_platform.install(outlet_plugin_folder, config={"pointsPerDollar": 3})
    assert plugin.config == {"pointsPerDollar": 3, "redemptionRate": "0.01"}


def test_the_settings_schema_has_the_same_defaults() -> None:
    schema = tomllib.loads((ROOT / "plugin.toml").read_text())["settings"]
    assert {key: setting["default"] for key, setting in schema["properties"].items()} == DEFAULTS


async def test_a_completed_sale_awards_points_and_says_so(outlet_plugin: InstalledPlugin, shop: Shop) -> None:
    await shop.sell("s-1", "120.75")
    answer = await shop.read()
    assert (answer["points"], answer["value"]) == (120, "1.20")
    assert answer["transactions"] == [
        {"kind": "earned", "points": 120, "saleId": "s-1", "reference": None, "at": "2026-01-05T09:01:00+00:00"}
    ]
    assert said(outlet_plugin) == [
        ("points-earned", {"customerId": "c-1", "points": 120, "balance": 120, "saleId": "s-1"})
    ]


async def test_sales_add_up_per_customer(shop: Shop) -> None:
    await shop.sell("s-1", "10.00")
    await shop.sell("s-2", "5.00")
    await shop.sell("s-3", "7.00", customer="c-2")
    assert (await shop.read("c-1"))["points"] == 15
    assert (await shop.read("c-2"))["points"] == 7


async def test_a_refund_takes_points_back_even_below_zero(outlet_plugin: InstalledPlugin, shop: Shop) -> None:
    await shop.sell("s-1", "20.00")
    await shop.redeem({"points": 15})
    await shop.sell("s-2", "-20.00", refundOf="s-1")
    answer = await shop.read()
    assert (answer["points"], answer["value"]) == (-15, "0.00")
    assert [entry["kind"] for entry in answer["transactions"]].count("reversed") == 1
    assert outlet_plugin.emitted[-1].event == "points-reversed"


async def test_a_sale_that_earns_nothing_leaves_no_trace(outlet_plugin: InstalledPlugin, shop: Shop) -> None:
    await shop.sell("s-1", "20.00", customer=None)
    await shop.sell("s-2", "20.00", status="voided")
    await shop.sell("s-3", "0.50")
    assert [outlet_plugin.rows(table) for table in ("accounts", "transactions")] == [[], []]
    assert outlet_plugin.emitted == []


async def test_a_customer_who_never_earned_has_no_points(shop: Shop) -> None:
    assert await shop.read("nobody") == {"customerId": "nobody", "points": 0, "value": "0.00", "transactions": []}


@pytest.mark.parametrize(
    ("config", "points", "value"),
    [
        ({"pointsPerDollar": 2}, 25, "0.25"),
        ({"pointsPerDollar": "1.5"}, 18, "0.18"),
        ({"pointsPerDollar": Decimal("0.1")}, 1, "0.01"),
        ({"redemptionRate": "0.005"}, 12, "0.06"),
        ({"redemptionRate": Decimal("0.1")}, 12, "1.20"),
    ],
)
async def test_settings_decide_the_points_and_their_value(
    outlet_plugin: InstalledPlugin, shop: Shop, config: dict[str, Any], points: int, value: str
) -> None:
    outlet_plugin.config |= config
    await shop.sell("s-1", "12.50")
    answer = await shop.read()
    assert (answer["points"], answer["value"]) == (points, value)


async def test_the_last_twenty_movements_are_shown_newest_first(shop: Shop) -> None:
    for number in range(25):
        await shop.sell(f"s-{number}", "1.00")
    assert [entry["saleId"] for entry in (await shop.read())["transactions"]] == [
        f"s-{number}" for number in range(24, 4, -1)
    ]


async def test_redeeming_takes_points_and_says_so(outlet_plugin: InstalledPlugin, shop: Shop) -> None:
    await shop.sell("s-1", "100.00")
    answer = await shop.redeem({"points": 30, "reference": "till-4-17"})
    assert answer == {"customerId": "c-1", "redeemed": 30, "value": "0.30", "points": 70}
    assert (await shop.read())["transactions"][0] | {"at": ""} == {
        "kind": "redeemed",
        "points": -30,
        "saleId": None,
        "reference": "till-4-17",
        "at": "",
    }
    assert said(outlet_plugin)[-1] == ("points-redeemed", {"customerId": "c-1", "points": 30, "balance": 70})


async def test_all_points_can_be_redeemed_but_not_one_more(outlet_plugin: InstalledPlugin, shop: Shop) -> None:
    await shop.sell("s-1", "100.00")
    assert await shop.refused({"points": 101}) == (409, "insufficient_points")
    assert len(outlet_plugin.rows("transactions")) == 1
    assert (await shop.redeem({"points": 100}))["points"] == 0


async def test_a_customer_without_an_account_has_nothing_to_redeem(shop: Shop) -> None:
    assert await shop.refused({"points": 1}, customer="nobody") == (409, "insufficient_points")


async def test_repeating_a_redemption_with_its_reference_takes_nothing_more(
    outlet_plugin: InstalledPlugin, shop: Shop
) -> None:
    await shop.sell("s-1", "100.00")
    first = await shop.redeem({"points": 30, "reference": "till-4-17"})
    assert await shop.redeem({"points": 30, "reference": "till-4-17"}) == first
    assert [each.event for each in outlet_plugin.emitted].count("points-redeemed") == 1


async def test_a_reference_stands_for_one_number_of_points(shop: Shop) -> None:
    await shop.sell("s-1", "100.00")
    await shop.redeem({"points": 30, "reference": "till-4-17"})
    assert await shop.refused({"points": 31, "reference": "till-4-17"}) == (409, "reference_used")


async def test_a_reference_belongs_to_its_customer(shop: Shop) -> None:
    await shop.sell("s-1", "100.00")
    await shop.sell("s-2", "100.00", customer="c-2")
    await shop.redeem({"points": 30, "reference": "r"})
    assert (await shop.redeem({"points": 30, "reference": "r"}, customer="c-2"))["points"] == 70


async def test_of_two_requests_with_one_reference_at_once_only_one_is_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.sell("s-1", "100.00")
    await shop.redeem({"points": 30, "reference": "r"})

    async def too_early(*_: Any) -> None:
        """The second looked for an earlier redemption before the first was committed."""

    monkeypatch.setattr(ledger, "earlier_redemption", too_early)
    assert await shop.refused({"points": 30, "reference": "r"}) == (409, "concurrent_redemption")
    assert (await shop.read())["points"] == 70


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        ([], "invalid_redemption"),
        ({}, "invalid_redemption"),
        ({"points": 0}, "invalid_redemption"),
        ({"points": -5}, "invalid_redemption"),
        ({"points": 1.5}, "invalid_redemption"),
        ({"points": "5"}, "invalid_redemption"),
        ({"points": True}, "invalid_redemption"),
        ({"points": 10**10}, "invalid_redemption"),
        ({"points": 5, "reference": ""}, "invalid_redemption"),
        ({"points": 5, "reference": "x" * 101}, "invalid_redemption"),
        ({"points": 5, "reference": 7}, "invalid_redemption"),
    ],
)
async def test_a_bad_redemption_is_refused_and_moves_nothing(
    outlet_plugin: InstalledPlugin, shop: Shop, body: Any, code: str
) -> None:
    await shop.sell("s-1", "100.00")
    assert await shop.refused(body) == (400, code)
    assert (await shop.read())["points"] == 100
