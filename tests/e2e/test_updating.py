"""A plugin that is updated and taken back while sales go on: every sale counts once, in the version of its time."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.package import Package, build
from outlet.samples import retailer, sales
from outlet.samples.records import record
from tests.e2e.support import Caller, assert_problem, environment, until_committed

ORGANIZATION = "updating"
STORE = "store-1"

LIBRARY = """
[plugin]
id = "tally-library"
name = "Tally"
version = "1.0.0"
author = "Tests"
description = "Counts."
category = "library"
"""
ABOUT = """
[plugin]
id = "tally"
name = "Tally"
version = "{version}"
author = "Tests"
description = "Writes down which version saw a sale."
"""
ASKS = """
[[permissions]]
name = "customer:read"
purpose = "nobody has agreed to this"

[[dependencies]]
id = "tally-library"
path = "{library}"
"""
CODE = """
from outlet import ApiError, Plugin, column

plugin = Plugin()
COLUMNS = {{"sale": column.text(), "runs": column.integer(default=0), "seen_by": column.text(default="")}}


@plugin.on_install
async def install(api):
    await api.create_table("seen", COLUMNS, unique=[["sale"]])


@plugin.hook("sale.created")
async def see(api, event):
    await api.table("seen").upsert({{"sale": event.data["id"]}}, {{"seen_by": "{version}"}}, increment={{"runs": 1}})

"""
UPDATES = """
import counting


@plugin.on_update
async def update(api, update):
    seen = await api.create_table("seen", {**COLUMNS, "note": column.text(default="")}, unique=[["sale"]])
    try:
        await api.models.Customer.find()
        note = "saw customers"
    except ApiError as error:
        note = error.code
    await seen.create({"sale": f"from {update.from_version}", "runs": counting.ONE, "note": note})
"""
BREAKS = """
    raise RuntimeError("not like this")
"""


def plugin(folder: Path, version: str, *parts: str, about: str = "") -> Package:
    """A version of the plugin, from the parts of its code."""
    (folder / "tally").mkdir(parents=True)
    (folder / "plugin.toml").write_text(ABOUT.format(version=version) + about)
    (folder / "tally" / "__init__.py").write_text(CODE.format(version=version) + "".join(parts))
    return build(folder)


def library(folder: Path) -> Package:
    (folder / "counting").mkdir(parents=True)
    (folder / "plugin.toml").write_text(LIBRARY)
    (folder / "counting" / "__init__.py").write_text("ONE = 1")
    return build(folder)


async def sell(stack: Stack, first: int, last: int) -> None:
    """Sales with these numbers."""
    made = sales(retailer(), last - first)
    await scenario.deliver(
        stack.bootstrap,
        [
            record("sale", {**each, "id": str(number)}, organization=ORGANIZATION)
            for number, each in enumerate(made, first)
        ],
    )


@pytest.mark.timeout(180)
async def test_every_sale_counts_once_through_update_failed_update_and_rollback(tmp_path: Path) -> None:
    packages = [library(tmp_path / "library"), plugin(tmp_path / "one", "1.0.0")]
    asks = ASKS.format(library=tmp_path / "library")
    second = plugin(tmp_path / "two", "2.0.0", UPDATES, about=asks)
    broken = plugin(tmp_path / "three", "3.0.0", UPDATES, BREAKS, about=asks)
    async with (
        Stack(tmp_path / "platform", environ=environment(), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        for package in packages:
            await client.publish(package.data)
        installation = str((await client.install("tally"))["id"])
        await client.activate(installation)
        await scenario.rolled_out(client, installation, "active")
        await client.publish(second.data)
        await sell(stack, 0, 200)
        await until_committed(stack, installation, 20)

        path = f"/api/plugins/{installation}"
        assert_problem(await caller.ask("POST", f"{path}/update", json={}), 409, "consent_required")
        going_on = asyncio.create_task(sell(stack, 200, 600))
        updated = await caller.ask("POST", f"{path}/update", json={"grants": []})
        assert (updated.status_code, updated.json()["version"]) == (200, "2.0.0"), updated.text
        await going_on
        await scenario.rolled_out(client, installation, "active")
        await sell(stack, 600, 650)
        await until_committed(stack, installation, 650)

        await client.publish(broken.data)
        assert_problem(await caller.ask("POST", f"{path}/update", json={}), 502, "lifecycle_hook_failed")
        await scenario.rolled_out(client, installation, "active")
        await sell(stack, 650, 700)
        await until_committed(stack, installation, 700)

        assert (await caller.ask("POST", f"{path}/rollback")).json()["version"] == "1.0.0"
        await scenario.rolled_out(client, installation, "active")
        await sell(stack, 700, 750)
        await until_committed(stack, installation, 750)
        rows = await seen(stack)
    assert sorted(int(sale) for sale in rows if sale.isdigit()) == list(range(750))
    assert {row["runs"] for row in rows.values()} == {1}
    by = {sale: row["seen_by"] for sale, row in rows.items()}
    assert {by[str(number)] for number in range(600)} == {"1.0.0", "2.0.0"}
    assert {by[str(number)] for number in range(600, 700)} == {"2.0.0"}
    assert {by[str(number)] for number in range(700, 750)} == {"1.0.0"}
    assert [(sale, row["note"]) for sale, row in rows.items() if not sale.isdigit()] == [
        ("from 1.0.0", "permission_denied")
    ]


async def seen(stack: Stack) -> dict[str, asyncpg.Record]:
    """Every row, by the sale's number, as row-level security shows them to the platform."""
    settings = {"outlet.platform": "on"}
    connection = await asyncpg.connect(stack.database_urls["runtime"], server_settings=settings)
    try:
        rows = await connection.fetch('SELECT sale, runs, seen_by, note FROM plugin_data."tally__seen"')
    finally:
        await connection.close()
    return {row["sale"]: row for row in rows}
