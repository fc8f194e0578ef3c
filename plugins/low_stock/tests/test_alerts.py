"""The plugin on the platform in memory: what the people who order hear, and what they do not hear again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from low_stock import handlers

from outlet.testing import InstalledPlugin, Platform, PluginFailed

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Warehouse:
    """Products and their stock; the time of day; and the morning's look at them."""

    def __init__(self, platform: Platform, plugin: InstalledPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
        self.platform, self.plugin = platform, plugin
        monkeypatch.setattr(handlers, "now", lambda: self.platform.now)
        platform.now = NOON
        plugin.config |= {"tell": ["u-1"]}

    async def stock(self, left: Any, *, product: str = "p-1", store: str = "store-1", **members: Any) -> None:
        document = {"id": product, "storeId": store, "name": f"Tea {product}", "stock": left, **members}
        await self.plugin.send("product.updated", document, store=store)

    async def look(self, at: datetime | None = None) -> list[tuple[str, str]]:
        """The notices of one look."""
        before = len(self.plugin.notices)
        # The next day's look, or the one that is asked for.
        self.platform.now = at or self.platform.now + timedelta(days=1)
        await self.plugin.tick("look", self.platform.now)
        return [(notice.user_id, notice.title) for notice in self.plugin.notices[before:]]


@pytest.fixture
def warehouse(outlet_platform: Platform, outlet_plugin: InstalledPlugin, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return Warehouse(outlet_platform, outlet_plugin, monkeypatch)


ONE = [("u-1", "1 product is running out")]


async def test_what_is_low_is_told_once_to_everybody_who_orders(warehouse: Warehouse) -> None:
    warehouse.plugin.config |= {"tell": ["u-1", "u-2"]}
    await warehouse.stock(4)
    assert await warehouse.look() == [*ONE, ("u-2", "1 product is running out")]
    assert warehouse.plugin.notices[0].message == "Tea p-1: 4 left in store-1"
    assert await warehouse.look() == []


async def test_it_is_told_again_only_after_its_stock_was_back(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.look()
    await warehouse.stock(3)
    assert await warehouse.look() == []
    await warehouse.stock(50)
    await warehouse.stock(2)
    assert await warehouse.look() == ONE


async def test_a_store_is_not_kept_from_hearing_what_another_has_heard(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.look()
    await warehouse.stock(4, store="store-2")
    assert await warehouse.look() == ONE
    assert warehouse.plugin.notices[-1].message == "Tea p-1: 4 left in store-2"


@pytest.mark.parametrize(("category", "low"), [("tea", True), ("cake", False), ("other", True), (None, True)])
async def test_each_category_has_its_threshold(warehouse: Warehouse, category: str | None, low: bool) -> None:
    warehouse.plugin.config |= {"threshold": 5, "thresholds": {"tea": 10, "cake": 0}}
    await warehouse.stock(9 if category == "tea" else 4, category=category)
    assert bool(await warehouse.look()) is low


async def test_the_threshold_itself_is_enough(warehouse: Warehouse) -> None:
    await warehouse.stock(5)
    assert await warehouse.look() == []


@pytest.mark.parametrize("stock", ["4.5", 4, 0, -1])
async def test_stock_is_a_number_or_a_decimal_string(warehouse: Warehouse, stock: Any) -> None:
    await warehouse.stock(stock)
    assert await warehouse.look() == ONE


@pytest.mark.parametrize("stock", [None, "many", True, []])
async def test_a_product_whose_stock_is_not_kept_is_never_low(warehouse: Warehouse, stock: Any) -> None:
    await warehouse.stock(stock)
    assert await warehouse.look() == []
    assert (await warehouse.plugin.get("/low")).json()["products"] == []


async def test_a_threshold_that_was_lowered_and_raised_again_tells_again(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.look()
    warehouse.plugin.config |= {"threshold": 2}
    assert await warehouse.look() == []
    assert warehouse.plugin.rows("alerts") == []
    warehouse.plugin.config |= {"threshold": 5}
    assert await warehouse.look() == ONE


async def test_a_product_that_is_deleted_is_forgotten(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.look()
    await warehouse.plugin.send("product.deleted", {"id": "p-1", "storeId": "store-1"})
    assert warehouse.plugin.rows("alerts") == []


async def test_in_quiet_hours_the_message_waits_and_then_says_what_is_still_low(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.stock(4, product="p-2")
    assert await warehouse.look(datetime(2026, 1, 6, 6, tzinfo=UTC)) == []
    await warehouse.stock(50, product="p-2")
    assert await warehouse.plugin.run_jobs() == 0
    warehouse.platform.now = datetime(2026, 1, 6, 8, tzinfo=UTC)
    assert await warehouse.plugin.run_jobs() == 1
    assert [notice.message for notice in warehouse.plugin.notices] == ["Tea p-1: 4 left in store-1"]


async def test_quiet_hours_that_were_made_longer_meanwhile_are_kept(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    await warehouse.look(datetime(2026, 1, 6, 6, tzinfo=UTC))
    warehouse.plugin.config["quietUntil"] = "10:00"
    for hour, told in ((8, 0), (10, 1)):
        warehouse.platform.now = datetime(2026, 1, 6, hour, tzinfo=UTC)
        await warehouse.plugin.run_jobs()
        assert len(warehouse.plugin.notices) == told


async def test_looking_twice_in_one_night_tells_once(warehouse: Warehouse) -> None:
    await warehouse.stock(4)
    for hour in (6, 7):
        await warehouse.look(datetime(2026, 1, 6, hour, tzinfo=UTC))
    warehouse.platform.now = datetime(2026, 1, 6, 8, tzinfo=UTC)
    await warehouse.plugin.run_jobs()
    assert len(warehouse.plugin.notices) == 1


async def test_while_nobody_is_to_be_told_it_is_kept_for_later(warehouse: Warehouse) -> None:
    warehouse.plugin.config |= {"tell": []}
    await warehouse.stock(4)
    assert await warehouse.look() == []
    assert warehouse.plugin.logs[-1].level == "warning"
    warehouse.plugin.config |= {"tell": ["u-1"]}
    assert await warehouse.look() == ONE


async def test_a_look_that_may_not_notify_fails_and_keeps_nothing(warehouse: Warehouse) -> None:
    warehouse.plugin.grants.remove("notify:send")
    await warehouse.stock(4)
    with pytest.raises(PluginFailed, match="notify:send"):
        await warehouse.look()
    assert warehouse.plugin.rows("alerts") == []
    warehouse.plugin.grants.add("notify:send")
    assert await warehouse.look() == ONE


async def test_an_unknown_time_zone_is_logged_and_does_not_keep_anybody_from_hearing(warehouse: Warehouse) -> None:
    warehouse.plugin.config |= {"timeZone": "Mars/Olympus"}
    await warehouse.stock(4)
    assert await warehouse.look() == ONE
    assert any("timeZone" in line.message for line in warehouse.plugin.logs)


async def test_many_products_are_one_message(warehouse: Warehouse) -> None:
    for number in range(205):  # more than a page
        warehouse.platform.add("product", {"id": f"p-{number:03}", "storeId": "store-1", "stock": 1})
    assert await warehouse.look() == [("u-1", "205 products are running out")]
    assert warehouse.plugin.notices[-1].message.endswith("p-004: 1 left in store-1; and 200 more")


async def test_the_list_is_of_the_callers_store_page_by_page(warehouse: Warehouse) -> None:
    await warehouse.stock(1, category="tea")
    await warehouse.stock(2, store="store-2")
    own = (await warehouse.plugin.get("/low", store="store-1")).json()
    product = {"id": "p-1", "storeId": "store-1", "name": "Tea p-1", "category": "tea", "stock": "1", "threshold": 5}
    assert own == {"products": [product], "cursor": None}
    assert len((await warehouse.plugin.get("/low", store=None)).json()["products"]) == 2


async def test_a_long_list_has_a_next_page(warehouse: Warehouse) -> None:
    for number in range(205):
        warehouse.platform.add("product", {"id": f"p-{number:03}", "storeId": "store-1", "stock": 1})
    first = (await warehouse.plugin.get("/low")).json()
    rest = (await warehouse.plugin.get("/low", query={"cursor": first["cursor"]})).json()
    assert (len(first["products"]), len(rest["products"]), rest["cursor"]) == (200, 5, None)


async def test_a_cursor_of_the_callers_own_making_is_refused(warehouse: Warehouse) -> None:
    answer = await warehouse.plugin.get("/low", query={"cursor": "!"})
    assert (answer.status, answer.code) == (400, "invalid_cursor")
