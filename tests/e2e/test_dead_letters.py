"""A plugin that fails until its configuration is right, and what becomes of what it failed."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package, build
from outlet.samples import retailer, sales
from outlet.samples.records import record
from tests.e2e.support import Caller, environment

ORGANIZATION = "letters"
PLUGIN_ID = "ledger-export"
STORE = "store-1"
SALES = 40
SETTINGS = {"OUTLET_BREAKER_MINIMUM_RUNS": "100000"}
"""What fails here is to be a dead letter, and not to wait behind a circuit breaker."""

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Ledger export"
version = "1.0.0"
author = "Tests"
description = "Needs an account to book sales on."
"""

_CODE = """
from outlet import Plugin, column

plugin = Plugin()


@plugin.on_install
async def install(api):
    await api.create_table("booked", {"sale": column.text()})


@plugin.hook("sale.created", attempts=1)
async def book(api, event):
    await api.table("booked").create({"sale": event.data["id"]})
    if not api.get_config("account"):
        raise LookupError("no account to book on")


@plugin.route("GET", "/booked")
async def booked(api):
    return {"booked": [row["sale"] for row in await api.table("booked").find(limit=1000)]}
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "ledger_export").mkdir()
    (folder / "plugin.toml").write_text(_ABOUT)
    (folder / "ledger_export" / "__init__.py").write_text(_CODE)
    return build(folder)


@dataclass(frozen=True)
class Bookkeeping:
    stack: Stack
    client: GatewayClient
    caller: Caller
    installation: str

    async def booked(self) -> list[str]:
        answer = await self.client.route("GET", PLUGIN_ID, "/booked", store=STORE)
        assert answer.status_code == 200, answer.text
        return sorted(answer.json()["booked"])

    async def letters(self, organization: str, *arguments: str) -> tuple[int, Any]:
        """`outlet dead-letters` for an owner of an organization: its status, and the JSON that it printed."""
        token = self.stack.issuer.token("owner", organization)
        command = ["-c", "from outlet.cli import main; main()", "dead-letters", *arguments, "--json"]
        told = ["--url", self.stack.gateway_url, "--token", token]
        running = await asyncio.create_subprocess_exec(
            sys.executable, *command, *told, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, errors = await running.communicate()
        assert printed, errors.decode()
        assert running.returncode is not None
        return running.returncode, json.loads(printed)


@pytest.fixture
async def bookkeeping(package: Package, tmp_path: Path) -> AsyncIterator[Bookkeeping]:
    async def answers() -> bool:
        return (await client.route("GET", PLUGIN_ID, "/booked", store=STORE)).status_code == 200

    async with (
        Stack(tmp_path, environ=environment(SETTINGS), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        await client.publish(package.data)
        installation = (await client.install(PLUGIN_ID))["id"]
        await client.activate(installation)
        await scenario.rolled_out(client, installation, "active")
        await until(answers, within=15, what="the gateway knows the plugin")
        yield Bookkeeping(stack, client, caller, installation)


async def test_what_failed_for_want_of_configuration_is_replayed_once_it_is_right(bookkeeping: Bookkeeping) -> None:
    tickets = [{**ticket, "id": f"sale-{number}"} for number, ticket in enumerate(sales(retailer(), SALES))]
    records = [record("sale", ticket, organization=ORGANIZATION) for ticket in tickets]
    await scenario.deliver(bookkeeping.stack.bootstrap, records)

    async def all_failed() -> bool:
        _, found = await bookkeeping.letters(ORGANIZATION, "list", "--plugin", PLUGIN_ID, "--limit", "200")
        return len(found["items"]) == SALES

    await until(all_failed, within=60, what=f"{SALES} sales are dead letters")
    assert await bookkeeping.booked() == []
    by_error = ("--code", "plugin_raised", "--error", "no ACCOUNT", "--since", "1h")
    assert (await bookkeeping.letters(ORGANIZATION, "replay", *by_error, "--dry-run"))[1]["total"] == SALES
    _, found = await bookkeeping.letters(ORGANIZATION, "list", "--limit", "1")
    guessed = str(found["items"][0]["id"])
    assert (await bookkeeping.letters("stranger", "list"))[1]["items"] == []
    assert (await bookkeeping.letters("stranger", "replay", guessed))[1]["total"] == 0
    assert (await bookkeeping.letters("stranger", "discard", guessed))[1]["total"] == 0

    status, again = await bookkeeping.letters(ORGANIZATION, "replay", guessed, "--wait", "60s")
    assert (status, again["total"], again["dead"]) == (1, 1, 1)  # still not right

    place = f"/api/plugins/{bookkeeping.installation}/config"
    assert (await bookkeeping.caller.ask("PUT", place, json={"config": {"account": "4711"}})).status_code == 200
    await scenario.rolled_out(bookkeeping.client, bookkeeping.installation, "active")
    status, done = await bookkeeping.letters(ORGANIZATION, "replay", *by_error, "--wait", "60s")
    assert (status, done["total"], done["succeeded"]) == (0, SALES, SALES)
    assert await bookkeeping.booked() == sorted(str(ticket["id"]) for ticket in tickets)
    _, progress = await bookkeeping.letters(ORGANIZATION, "progress", done["replayId"])
    assert (progress["total"], progress["succeeded"], progress["waiting"]) == (SALES, SALES, 0)
    assert (await bookkeeping.letters(ORGANIZATION, "list"))[1]["items"] == []
