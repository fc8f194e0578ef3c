"""The example plugins as packages: built twice alike, checked as the marketplace does, and run behind real walls."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from outlet import package
from outlet.testing import Reply
from services.registry.submissions import checks
from services.runtime.sandbox import Zygote
from tests.contract.grounds import STORE, OnThePlatform, Pool

PLUGINS = Path(__file__).parents[2] / "plugins"
FOLDERS = sorted(described.parent.name for described in PLUGINS.glob("*/plugin.toml"))
SALE = {
    "id": "s-1",
    "status": "completed",
    "customerId": "c-1",
    "cashierId": "e-1",
    "currency": "EUR",
    "completedAt": "2026-01-05T09:10:00Z",
    "totals": {"net": "200.00", "total": "238.00"},
    "lines": [{"kind": "merchandise", "netAmount": "200.00"}],
}
Answer = Mapping[str, Any]


class Example(NamedTuple):
    """What a plugin is asked when it has seen :data:`SALE`, what of the answer counts, and what that must be."""

    path: str
    query: str
    told: Callable[[Answer], object]
    expected: object
    hears: bool = True
    config: Mapping[str, Any] = {}


TURNOVER = {"day": "2026-01-05", "currency": "EUR", "sales": 1, "refunds": 0, "net": "200.00"}
EXAMPLES = {
    "loyalty_points": Example("/points/c-1", "", lambda answer: answer["points"], 200),
    "fraud_check": Example(
        "/verdicts/s-1",
        "",
        lambda answer: (answer["verdict"], answer["score"]),
        ("flagged", "88.5"),
        config={"apiKey": "a-secret-of-some-length"},
    ),
    "low_stock": Example("/low", "", lambda answer: [each["id"] for each in answer["products"]], ["p-1"], hears=False),
    "sales_dashboard": Example(
        "/sales", "by=day&from=2026-01-05&to=2026-01-05", lambda answer: answer["rows"], [TURNOVER]
    ),
}


def test_every_plugin_has_its_example() -> None:
    assert sorted(EXAMPLES) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_plugin_is_the_same_bytes_each_time_and_nothing_is_said_against_it(folder: str) -> None:
    built = package.build(PLUGINS / folder)
    assert package.build(PLUGINS / folder).data == built.data
    assert checks.check(built) == []


@pytest.fixture
async def ground(zygote: Zygote, runtime_pool: Pool, folder: str) -> AsyncIterator[OnThePlatform]:
    real = OnThePlatform(zygote, runtime_pool, (PLUGINS / folder,))
    yield real
    await real.sandbox.close()


@pytest.mark.parametrize("folder", FOLDERS)
async def test_a_plugin_does_behind_walls_what_it_does_in_memory(ground: OnThePlatform, folder: str) -> None:
    example = EXAMPLES[folder]
    ground.answer(lambda *_: Reply(json={"score": 88.5}))
    await ground.install_plugin(folder.replace("_", "-"), None, None, dict(example.config))
    await ground.add("product", {"id": "p-1", "stock": 1})
    if example.hears:
        assert await ground.sale(SALE, event="event-1") is None
    status, answer = await ground.get(example.path, example.query)
    assert (status, example.told(answer)) == (200, example.expected)


@pytest.mark.parametrize("folder", ["low_stock"])
async def test_low_stock_looks_and_tells_behind_walls(ground: OnThePlatform) -> None:
    config = {"tell": ["u-1"], "timeZone": "Europe/Berlin", "quietFrom": "00:00", "quietUntil": "00:00"}
    await ground.install_plugin("low-stock", None, None, config)
    await ground.add("product", {"id": "p-1", "stock": 1}, store=STORE)
    await ground.tick_of("look", datetime(2026, 1, 5, 6, tzinfo=UTC))
    assert (await ground.left())["notices"] == [["u-1", "1 product is running out"]]
