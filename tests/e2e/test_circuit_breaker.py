"""A plugin that fails on everything is stopped, and loses nothing once it works again."""

from pathlib import Path

import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package, build
from outlet.samples import retailer, sales
from outlet.samples.records import record
from tests.e2e.support import Caller, environment

ORGANIZATION = "breaking"
STORE = "store-1"
PLUGIN_ID = "breaking"
SALES = 60
SETTINGS = {
    "OUTLET_BREAKER_MINIMUM_RUNS": "10",
    "OUTLET_BREAKER_OPEN_SECONDS": "2",
    "OUTLET_BREAKER_PROBES": "3",
    "OUTLET_STATISTICS_SECONDS": "1",
    "OUTLET_HOOK_ATTEMPTS": "1000",  # what fails is tried until the plugin is mended
}

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Breaking"
version = "1.0.0"
author = "Tests"
description = "Fails on everything until it is mended."

[settings.properties.mended]
type = "boolean"
default = false
"""

_CODE = """
from outlet import Plugin, column

plugin = Plugin()


@plugin.on_install
async def install(api):
    await api.create_table("seen", {"sale": column.text()}, unique=[["sale"]])


@plugin.hook("sale.created")
async def see(api, event):
    await api.table("seen").create({"sale": event.data["id"]})
    if not api.get_config("mended"):
        raise RuntimeError("not mended yet")


@plugin.route("GET", "/seen")
async def seen(api):
    return {"seen": [row["sale"] for row in await api.table("seen").find(limit=1000)]}
"""


@pytest.fixture
def breaking(tmp_path: Path) -> Package:
    folder = tmp_path / "breaking_plugin"
    (folder / "breaking").mkdir(parents=True)
    (folder / "plugin.toml").write_text(_ABOUT)
    (folder / "breaking" / "__init__.py").write_text(_CODE)
    return build(folder)


@pytest.mark.timeout(300)
async def test_a_failing_plugin_is_stopped_and_then_catches_up(breaking: Package, tmp_path: Path) -> None:
    async with (
        Stack(tmp_path / "platform", environ=environment(SETTINGS), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        await client.publish(breaking.data)
        installation = (await client.install(PLUGIN_ID))["id"]
        await client.activate(installation)
        await scenario.rolled_out(client, installation, "active")

        async def has(state: str) -> bool:
            return bool((await caller.read(installation))["breaker"]["state"] == state)

        documents = [{**ticket, "id": f"sale-{number}"} for number, ticket in enumerate(sales(retailer(), SALES))]
        half = SALES // 2
        await scenario.deliver(
            stack.bootstrap, [record("sale", each, organization=ORGANIZATION) for each in documents[:half]], within=90
        )
        await until(lambda: has("open"), within=60, what="its breaker opens")
        found = await caller.read(installation)
        assert (found["status"], found["statusReason"].partition(":")[0]) == ("error", "circuit breaker open")
        # What comes while it is held is kept as well.
        await scenario.deliver(
            stack.bootstrap, [record("sale", each, organization=ORGANIZATION) for each in documents[half:]], within=90
        )
        stack.kill("insights")
        mended = await caller.ask("PUT", f"/api/plugins/{installation}/config", json={"config": {"mended": True}})
        assert mended.status_code == 200, mended.text
        await until(lambda: has("closed"), within=120, what="its breaker closes")
        assert (await caller.read(installation))["status"] == "active"
        seen: list[str] = []

        async def caught_up() -> bool:
            answer = await client.route("GET", PLUGIN_ID, "/seen", store=STORE)
            if answer.status_code == 200:
                seen[:] = answer.json()["seen"]
            return len(seen) >= SALES

        await until(caught_up, within=120, what="it has caught up")
        assert sorted(seen) == sorted(str(each["id"]) for each in documents)
