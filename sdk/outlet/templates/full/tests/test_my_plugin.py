"""What the plugin does for stores, screens and the head office."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from outlet.testing import InstalledPlugin, Notice, PluginFailed, Reply

MORNING = datetime(2026, 1, 5, 9, tzinfo=UTC)
OFFICE = "https://hooks.example.com/turnover"


async def sell(plugin: InstalledPlugin, number: int, net: str, **options: Any) -> None:
    sale = {"id": f"s-{number}", "status": "completed", "totals": {"net": net}}
    await plugin.send("sale.created", sale, **{"store": "north", "time": MORNING, **options})


async def test_sales_add_up_by_store_and_day(outlet_plugin: InstalledPlugin) -> None:
    await sell(outlet_plugin, 1, "19.90")
    await sell(outlet_plugin, 2, "0.10")
    await sell(outlet_plugin, 3, "5.00", store="south")
    answer = await outlet_plugin.get("/turnover/2026-01-05", store="north")
    assert answer.json() == {"day": "2026-01-05", "total": "20.00", "goal": 1000}
    assert (await outlet_plugin.get("/turnover/2026-01-05", store=None)).json()["total"] == "25.00"


async def test_the_manager_hears_of_the_goal_once(outlet_plugin: InstalledPlugin) -> None:
    outlet_plugin.config |= {"goal": 10, "manager": "u-1"}
    for number in range(3):
        await sell(outlet_plugin, number, "6.00")
    assert outlet_plugin.notices == [Notice("u-1", "Goal reached", "north: 12.00", "success")]


async def test_the_day_goes_to_the_head_office_when_it_is_over(outlet_plugin: InstalledPlugin) -> None:
    await sell(outlet_plugin, 1, "19.90")
    outlet_plugin.secrets["token"] = "known-to-both"
    outlet_plugin.platform.on_fetch(OFFICE, Reply(status=204))
    await outlet_plugin.tick("day-is-over")
    assert await outlet_plugin.run_jobs() == 1
    [sent] = outlet_plugin.fetched
    assert sent.json() == {"day": "2026-01-05", "totals": {"north": "19.90"}}
    assert sent.headers["authorization"] == "Bearer known-to-both"


async def test_a_head_office_that_is_away_is_tried_again(outlet_plugin: InstalledPlugin) -> None:
    outlet_plugin.secrets["token"] = "known-to-both"
    outlet_plugin.platform.on_fetch(OFFICE, Reply(status=503))
    await outlet_plugin.tick("day-is-over")
    with pytest.raises(PluginFailed, match="the head office answered 503"):
        await outlet_plugin.run_jobs()
    outlet_plugin.platform.on_fetch(OFFICE, Reply())
    outlet_plugin.platform.now = outlet_plugin.jobs[0].due
    assert await outlet_plugin.run_jobs() == 1
    assert outlet_plugin.jobs == []


async def test_what_is_no_day_is_refused(outlet_plugin: InstalledPlugin) -> None:
    answer = await outlet_plugin.get("/turnover/yesterday")
    assert (answer.status, answer.code) == (400, "invalid_day")


async def test_a_days_samples(outlet_plugin: InstalledPlugin, outlet_sales: list[Any]) -> None:
    for sale in outlet_sales:
        await outlet_plugin.send("sale.created", sale, store=sale["storeId"], time=MORNING)
    expected = sum(Decimal(sale["totals"]["net"]) for sale in outlet_sales if sale["status"] == "completed")
    answer = await outlet_plugin.get("/turnover/2026-01-05", store=None)
    assert Decimal(answer.json()["total"]) == expected
