"""What the plugin does when sales arrive."""

from typing import Any

from outlet.testing import Emitted, InstalledPlugin


async def test_completed_sales_are_counted_by_store(outlet_plugin: InstalledPlugin) -> None:
    await outlet_plugin.send("sale.created", {"id": "s-1", "status": "completed"}, store="north")
    await outlet_plugin.send("sale.created", {"id": "s-2", "status": "voided"}, store="north")
    await outlet_plugin.send("sale.created", {"id": "s-3", "status": "completed"}, store="south")
    assert (await outlet_plugin.get("/sales/north")).json() == {"store": "north", "sales": 1}
    assert outlet_plugin.emitted[-1] == Emitted("sale-counted", {"store": "south", "sales": 1}, "south")


async def test_a_sale_that_arrives_twice_counts_once(outlet_plugin: InstalledPlugin) -> None:
    for _ in range(2):
        await outlet_plugin.send("sale.created", {"id": "s-1", "status": "completed"}, id="event-1", store="north")
    assert (await outlet_plugin.get("/sales/north")).json()["sales"] == 1


async def test_a_days_sales(outlet_plugin: InstalledPlugin, outlet_sales: list[Any]) -> None:
    for sale in outlet_sales:
        await outlet_plugin.send("sale.created", sale, store=sale["storeId"])
    counted = sum(outlet_plugin.data.values())
    assert counted == sum(sale["status"] == "completed" for sale in outlet_sales)
