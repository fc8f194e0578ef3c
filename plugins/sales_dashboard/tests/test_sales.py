"""The plugin on the platform in memory: what dashboards and reports show."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sales_dashboard import handlers

from outlet import Api, ApiError
from outlet.samples import Sale
from outlet.testing import Answer, InstalledPlugin, Platform, PluginFailed

MONDAY = "2026-01-05"


class Chain:
    """Stores that sell, and screens that ask; the clock is the platform's."""

    def __init__(self, platform: Platform, plugin: InstalledPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
        self.platform, self.plugin = platform, plugin
        self._sold = 0
        monkeypatch.setattr(handlers, "now", lambda: self.platform.now)

    async def sell(self, net: Any, *, store: str = "store-1", at: str = f"{MONDAY}T09:10:00Z", **members: Any) -> None:
        self._sold += 1
        sale: dict[str, Any] = {"id": f"s-{self._sold}", "status": "completed", "cashierId": "e-1", "currency": "EUR"}
        sale |= {"completedAt": at, "totals": {"net": net}, **members}
        await self.plugin.send("sale.created", sale, id=f"event-{self._sold}", store=store)

    async def ask(self, by: str = "day", **options: Any) -> Answer:
        query = {"by": by, **options.pop("query", {})}
        return await self.plugin.get("/sales", query=query, **{"role": "manager", "store": None, **options})

    async def rows(self, by: str = "day", **options: Any) -> list[list[Any]]:
        return [list(row.values()) for row in (await self.ask(by, **options)).json()["rows"]]

    async def refused(self, by: str = "day", **options: Any) -> tuple[int, str | None]:
        answer = await self.ask(by, **options)
        return answer.status, answer.code


@pytest.fixture
def chain(outlet_platform: Platform, outlet_plugin: InstalledPlugin, monkeypatch: pytest.MonkeyPatch) -> Chain:
    return Chain(outlet_platform, outlet_plugin, monkeypatch)


async def test_sales_add_up_by_each_group(chain: Chain) -> None:
    await chain.sell("10.10")
    await chain.sell("0.20", at=f"{MONDAY}T10:59:59+01:00")
    await chain.sell("5.00", at=f"{MONDAY}T10:00:00Z", cashierId="e-2")
    await chain.sell("7.00", at="2026-01-04T09:00:00Z", store="store-2")
    assert await chain.rows("hour") == [
        ["2026-01-04T09:00:00+00:00", "EUR", 1, 0, "7.00"],
        [f"{MONDAY}T09:00:00+00:00", "EUR", 2, 0, "10.30"],
        [f"{MONDAY}T10:00:00+00:00", "EUR", 1, 0, "5.00"],
    ]
    assert await chain.rows("day") == [["2026-01-04", "EUR", 1, 0, "7.00"], [MONDAY, "EUR", 3, 0, "15.30"]]
    assert await chain.rows("store") == [["store-1", "EUR", 3, 0, "15.30"], ["store-2", "EUR", 1, 0, "7.00"]]
    assert await chain.rows("employee") == [["e-1", "EUR", 3, 0, "17.30"], ["e-2", "EUR", 1, 0, "5.00"]]


async def test_refunds_are_counted_apart_and_lower_the_turnover(chain: Chain) -> None:
    await chain.sell("10.00")
    await chain.sell("-4.00", refundOf="s-1")
    assert await chain.rows() == [[MONDAY, "EUR", 1, 1, "6.00"]]


async def test_currencies_are_never_added_up(chain: Chain) -> None:
    await chain.sell("10.00")
    await chain.sell("10.00", currency="CHF")
    assert await chain.rows() == [[MONDAY, "CHF", 1, 0, "10.00"], [MONDAY, "EUR", 1, 0, "10.00"]]


@pytest.mark.parametrize("status", ["voided", "parked"])
async def test_what_was_not_completed_is_not_counted(chain: Chain, status: str) -> None:
    await chain.sell("10.00", status=status)
    assert chain.plugin.rows("hours") == []


async def test_a_sale_that_arrives_twice_counts_once(chain: Chain) -> None:
    for _ in range(2):
        chain._sold = 0
        await chain.sell("10.00")
    assert await chain.rows() == [[MONDAY, "EUR", 1, 0, "10.00"]]


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"totals": None}, r"totals\.net"),
        ({"totals": {"net": "much"}}, r"totals\.net"),
        ({"totals": {"net": True}}, r"totals\.net"),
        ({"completedAt": "yesterday"}, "completedAt"),
        ({"completedAt": f"{MONDAY}T09:00:00"}, "completedAt"),
    ],
)
async def test_a_sale_that_cannot_be_read_is_a_failure_by_name(
    chain: Chain, members: dict[str, Any], named: str
) -> None:
    with pytest.raises(PluginFailed, match=named):
        await chain.sell("1.00", **members)
    assert chain.plugin.rows("hours") == []


async def test_a_sale_that_does_not_say_when_counts_when_it_was_published(chain: Chain) -> None:
    await chain.sell("10.00", completedAt=None)
    assert await chain.rows() == [[MONDAY, "EUR", 1, 0, "10.00"]]


async def test_a_whole_trade_comes_to_what_its_tickets_say(chain: Chain, outlet_sales: list[Sale]) -> None:
    expected: Counter[str] = Counter()
    for sale in outlet_sales:
        await chain.plugin.send("sale.created", sale, store=sale["storeId"])
        if sale["status"] == "completed":
            expected[sale["storeId"]] += Decimal(sale["totals"]["net"])  # type: ignore[assignment]
    shown = await chain.rows("store", query={"from": "2026-01-01", "to": "2026-03-01"})
    assert {row[0]: Decimal(row[4]) for row in shown} == expected


async def test_nothing_of_people_is_stored_but_the_employees_id(chain: Chain) -> None:
    await chain.sell("10.00", customerId="c-1", customer={"name": "Ada", "email": "ada@example.com"})
    [row] = chain.plugin.rows("hours")
    assert set(row) == {"store", "employee", "currency", "hour", "day", "sales", "refunds", "net"}
    assert not {"c-1", "Ada", "ada@example.com"} & {str(value) for value in row.values()}
    assert chain.plugin.manifest.permissions == ()


async def test_a_cashier_sees_the_own_store_and_no_employees(chain: Chain) -> None:
    await chain.sell("10.00")
    await chain.sell("7.00", store="store-2")
    assert await chain.rows("store", role="cashier", store="store-1") == [["store-1", "EUR", 1, 0, "10.00"]]
    assert await chain.refused("employee", role="cashier", store="store-1") == (403, "managers_only")


async def test_an_answer_is_kept_for_half_a_minute(chain: Chain) -> None:
    await chain.sell("10.00")
    first = (await chain.ask()).json()
    await chain.sell("5.00")
    assert (await chain.ask()).json() == first
    chain.platform.advance(timedelta(seconds=31))
    assert await chain.rows() == [[MONDAY, "EUR", 2, 0, "15.00"]]


async def test_a_kept_answer_is_nobody_elses(chain: Chain) -> None:
    await chain.sell("10.00")
    await chain.rows("store")
    assert await chain.rows("store", store="store-2") == []
    assert (await chain.refused("employee", role="cashier"))[0] == 403


@pytest.mark.parametrize("code", ["too_many_keys", "value_too_large"])
async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise ApiError(code, "no more")

    monkeypatch.setattr(Api, "set_data", refuse)
    await chain.sell("10.00")
    assert await chain.rows() == [[MONDAY, "EUR", 1, 0, "10.00"]]
    assert chain.plugin.logs[-1].meta["code"] == code


@pytest.mark.parametrize(
    "query",
    [
        {"by": "customer"},
        {"from": "monday"},
        {"to": "2026-13-01"},
        {"from": "2026-01-06", "to": MONDAY},
        {"from": "2020-01-01", "to": MONDAY},
        {"by": "hour", "from": "2025-12-01", "to": MONDAY},
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(chain: Chain, query: dict[str, str]) -> None:
    assert await chain.refused(query=query) == (400, "invalid_question")


async def test_the_first_day_of_all_can_be_asked_for(chain: Chain) -> None:
    assert await chain.rows(query={"to": "0001-01-01"}) == []


def test_the_clock_is_in_utc() -> None:
    assert handlers.now().tzinfo is UTC
    assert abs(handlers.now() - datetime.now(UTC)) < timedelta(minutes=1)
