"""The plugin on the platform in memory, with a fraud service that answers what a test says."""

from decimal import Decimal
from typing import Any

import pytest
from fraud_check.service import URL

from outlet.manifest import HookDeclaration
from outlet.testing import Answer, InstalledPlugin, Platform, PluginFailed, Reply


class Till:
    """Sells, asks for verdicts, and says what the service answers."""

    def __init__(self, platform: Platform, plugin: InstalledPlugin) -> None:
        self.platform, self.plugin = platform, plugin
        plugin.secrets["apiKey"] = "a-key-of-some-length"
        self.answers(score=10, reference="a-1")

    def answers(self, status: int = 200, **answer: Any) -> None:
        self.platform.on_fetch(URL, Reply(status=status, json=answer))

    async def sell(self, total: Any = "150.00", *, event: str = "e-1", store: str = "store-1", **members: Any) -> None:
        sale = {"id": "s-1", "status": "completed", "totals": {"total": total}, **members}
        await self.plugin.send("sale.created", sale, id=event, store=store)

    async def ask(self, sale: str = "s-1", **options: Any) -> Answer:
        return await self.plugin.get(f"/verdicts/{sale}", **options)

    async def verdict(self) -> tuple[str, str | None]:
        answer = (await self.ask()).json()
        return answer["verdict"], answer["score"]


@pytest.fixture
def till(outlet_platform: Platform, outlet_plugin: InstalledPlugin) -> Till:
    return Till(outlet_platform, outlet_plugin)


async def test_the_service_is_asked_about_a_large_sale_and_its_verdict_is_kept(till: Till) -> None:
    await till.sell(currency="EUR", channel="store", tenders=[{"method": "card", "amount": "150.00"}])
    [asked] = till.plugin.fetched
    assert asked.json() == {
        "saleId": "s-1",
        "storeId": "store-1",
        "total": "150.00",
        "currency": "EUR",
        "channel": "store",
        "customerId": None,
        "tenders": ["card"],
    }
    assert (await till.ask()).json() | {"at": ""} == {
        "saleId": "s-1",
        "storeId": "store-1",
        "verdict": "clear",
        "score": "10",
        "reference": "a-1",
        "reason": None,
        "at": "",
    }
    assert till.plugin.emitted == []


@pytest.mark.parametrize(("total", "asked"), [("100.00", 0), ("100.01", 1), (100, 0), (101, 1), ("-150.00", 0)])
async def test_only_sales_above_the_limit_are_asked_about(till: Till, total: Any, asked: int) -> None:
    await till.sell(total)
    assert len(till.plugin.fetched) == asked


@pytest.mark.parametrize("limit", [200, "199.99", Decimal("149.99")])
async def test_the_organization_sets_the_limit(till: Till, limit: Any) -> None:
    till.plugin.config["limit"] = limit
    await till.sell()
    assert len(till.plugin.fetched) == (Decimal(limit) < 150)


@pytest.mark.parametrize("status", ["voided", "parked"])
async def test_a_sale_that_is_not_completed_is_not_asked_about(till: Till, status: str) -> None:
    await till.sell(status=status)
    assert till.plugin.fetched == []
    assert ((await till.ask()).status, (await till.ask()).code) == (404, "no_verdict")


@pytest.mark.parametrize("total", [None, "much", "NaN", True])
async def test_a_total_that_cannot_be_read_is_a_failure_and_not_a_small_sale(till: Till, total: Any) -> None:
    with pytest.raises(PluginFailed, match=r"totals\.total"):
        await till.sell(total)


async def test_a_risky_sale_is_flagged_for_the_screens(till: Till) -> None:
    till.answers(score=70)
    await till.sell(customerId="c-1")
    assert await till.verdict() == ("flagged", "70")
    [told] = till.plugin.emitted
    assert (told.event, told.data, told.store) == ("flagged", {"saleId": "s-1", "score": "70"}, "store-1")


async def test_the_organization_sets_from_which_score_a_sale_is_flagged(till: Till) -> None:
    till.plugin.config["flagFrom"] = 71
    till.answers(score=70)
    await till.sell()
    assert await till.verdict() == ("clear", "70")


async def test_the_key_goes_to_the_service_and_the_plugin_never_sees_it(till: Till) -> None:
    await till.sell()
    assert till.plugin.fetched[0].headers["authorization"] == "Bearer a-key-of-some-length"
    assert all("a-key-of-some-length" not in str(line) for line in till.plugin.logs)


async def test_without_a_key_nothing_is_sent(till: Till) -> None:
    till.plugin.secrets.clear()
    with pytest.raises(PluginFailed, match="unknown_secret"):
        await till.sell()
    assert till.plugin.fetched == []


async def test_every_attempt_at_a_sale_is_the_same_question(till: Till) -> None:
    till.answers(503)
    with pytest.raises(PluginFailed, match="answered 503"):
        await till.sell()
    till.answers(score=5)
    await till.sell()
    await till.sell(event="e-2")  # the till published the sale again
    await till.sell(event="e-3", store="store-2")
    keys = [asked.headers["idempotency-key"] for asked in till.plugin.fetched]
    assert keys[0] == keys[1] == keys[2] != keys[3]


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_a_service_that_fails_is_asked_again_until_there_is_a_verdict(till: Till, status: int) -> None:
    till.answers(status)
    with pytest.raises(PluginFailed, match=f"answered {status}"):
        await till.sell()
    assert (await till.ask()).code == "no_verdict"
    till.answers(score=90)
    await till.sell()
    assert await till.verdict() == ("flagged", "90")


@pytest.mark.parametrize("failure", [TimeoutError(), ConnectionResetError("the peer hung up")])
async def test_no_answer_in_time_is_a_failure_of_the_attempt(till: Till, failure: Exception) -> None:
    till.platform.on_fetch(URL, lambda _: failure)
    with pytest.raises(PluginFailed, match="fetch_"):
        await till.sell()
    assert till.plugin.rows("verdicts") == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>"),
        Reply(json=[]),
        Reply(json={}),
        Reply(json={"score": "70"}),
        Reply(json={"score": True}),
        Reply(json={"score": 101}),
        Reply(json={"score": -1}),
        Reply(json={"score": 1, "reference": 7}),
        Reply(json={"score": 1, "reference": "a\0b"}),
        Reply(json={"score": 1, "reference": "a" * 201}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_no_verdict(till: Till, reply: Reply) -> None:
    till.platform.on_fetch(URL, reply)
    with pytest.raises(PluginFailed, match="cannot be read"):
        await till.sell()
    assert till.plugin.rows("verdicts") == []


async def test_a_sale_that_the_service_refuses_is_not_asked_about_again(till: Till) -> None:
    till.answers(422)
    await till.sell()
    answer = (await till.ask()).json()
    assert (answer["verdict"], answer["reason"]) == ("refused", "the fraud service answered 422")
    assert till.plugin.logs[-1].level == "error"
    await till.sell()  # the same event, delivered again
    assert len(till.plugin.fetched) == 1


async def test_an_organization_may_refuse_the_request(till: Till) -> None:
    till.plugin.grants.remove("host:api.fraud.example.com")
    with pytest.raises(PluginFailed, match="host_not_granted"):
        await till.sell()


async def test_a_cashier_sees_the_verdicts_of_the_own_store_only(till: Till) -> None:
    await till.sell()
    assert (await till.ask(store="store-2")).code == "no_verdict"
    assert (await till.ask(store="store-2", query={"store": "store-1"})).code == "no_verdict"


async def test_somebody_of_no_store_says_which(till: Till) -> None:
    await till.sell()
    assert (await till.ask(store=None)).code == "store_missing"
    assert (await till.ask(store=None, query={"store": "store-1"})).ok


def test_the_hook_has_its_own_attempts(till: Till) -> None:
    assert till.plugin.manifest.hooks == (
        HookDeclaration(event="sale.created", attempts=5, first_pause_seconds=2, longest_pause_seconds=60),
    )
