"""Uninstalling on real parts: kept for the next installation, exported over HTTP, and another organization's never."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import build
from tests.e2e.support import Caller, assert_problem, environment, until_ready
from tests.support.real import RealParts

PLUGIN_ID = "keeps-notes"
STORE = "store-1"
DEADLINES = {"OUTLET_LIFECYCLE_DEADLINE": "4"}
NOTES = {f"note-{number:03}": "x" * number * 15 for number in range(1, 151)}

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Keeps notes"
version = "1.0.0"
author = "Tests"
description = "Keeps notes."
entry = "notes:plugin"

[settings]
type = "object"
properties.apiKey = {{ type = "string", format = "secret" }}

[[hosts]]
name = "api.example.com"
purpose = "to be told"
"""

_CODE = """
import asyncio
from decimal import Decimal

from outlet import Plugin, column

plugin = Plugin()


@plugin.on_install
async def install(api):
    table = await api.create_table("notes", {"title": column.text(), "text": column.text(), "price": column.decimal()})
    await api.set_data("found-at-install", len(await table.find(limit=1000)))


@plugin.on_uninstall
async def uninstall(api):
    if await api.get_data("slow-to-leave"):
        await api.table("notes").delete({})
        await asyncio.sleep(2)


@plugin.schedule("0 2 * * *")
async def nightly(api, tick):
    pass


@plugin.hook("sale.created")
async def hear(api, event):
    pass


@plugin.route("POST", "/notes")
async def add(api, request):
    for title, text in request.json().items():
        await api.table("notes").create({"title": title, "text": text, "price": Decimal("1.50")})
        await api.set_data(title, len(text))
    if "slow" in request.json():
        await api.set_data("slow-to-leave", True)
    await api.webhooks.register("sale.created", "https://api.example.com/hook")
    return {"ok": True}


@plugin.route("GET", "/notes")
async def notes(api, request):
    rows = await api.table("notes").find(limit=1000)
    return {"notes": {row["title"]: row["text"] for row in rows}, "found": await api.get_data("found-at-install")}
"""


@dataclass(frozen=True)
class Organization:
    caller: Caller
    client: GatewayClient

    async def install(self) -> str:
        answer = await self.caller.ask(
            "POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID, "config": {"apiKey": "sk-live-2718281828"}}
        )
        assert answer.status_code == 201, answer.text
        installation = str(answer.json()["id"])
        await self.client.activate(installation)
        await scenario.rolled_out(self.client, installation, "active")
        await until(self._answers, within=15, what="the gateway knows the installation")
        return installation

    async def _answers(self) -> bool:
        return (await self.client.route("GET", PLUGIN_ID, "/notes", store=STORE)).status_code == 200

    async def notes(self) -> dict[str, Any]:
        answer = await self.client.route("GET", PLUGIN_ID, "/notes", store=STORE)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def add(self, notes: dict[str, str]) -> None:
        answer = await self.caller.ask("POST", f"/api/plugins/{PLUGIN_ID}/api/notes", store=STORE, json=notes)
        assert answer.status_code == 200, answer.text

    async def uninstall(self, installation: str, data: str | None) -> None:
        await self.client.deactivate(installation)
        query = {} if data is None else {"data": data}
        answer = await self.caller.ask("DELETE", f"/api/plugins/{installation}", params=query)
        assert answer.status_code == 204, answer.text

    async def retained(self) -> list[dict[str, Any]]:
        answer = await self.caller.ask("GET", "/api/plugins/retained")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


@pytest.fixture(scope="module")
async def platform(real_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "notes").mkdir()
    (folder / "plugin.toml").write_text(_ABOUT)
    (folder / "notes" / "__init__.py").write_text(_CODE)
    directory = tmp_path_factory.mktemp("platform")
    async with (
        Stack(directory, environ=environment(real_parts.environment() | DEADLINES), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, "publisher") as publisher,
    ):
        await publisher.publish(build(folder).data)
        yield stack


@pytest.fixture
async def acme(platform: Stack) -> AsyncIterator[Organization]:
    async with (
        Caller(platform, "uninstalling-acme") as caller,
        GatewayClient(platform.gateway_url, platform.issuer.token, "uninstalling-acme") as client,
    ):
        yield Organization(caller, client)


@pytest.fixture
async def globex(platform: Stack) -> AsyncIterator[Organization]:
    async with (
        Caller(platform, "uninstalling-globex") as caller,
        GatewayClient(platform.gateway_url, platform.issuer.token, "uninstalling-globex") as client,
    ):
        yield Organization(caller, client)


@pytest.mark.real
@pytest.mark.timeout(240)
async def test_kept_data_comes_back_and_an_export_is_what_was_stored(acme: Organization, globex: Organization) -> None:
    first = await acme.install()
    await acme.add(NOTES)
    await acme.uninstall(first, "keep")
    assert [(item["installationId"], item["data"]) for item in await acme.retained()] == [(first, "keep")]

    theirs = await globex.install()
    assert await globex.notes() == {"notes": {}, "found": 0}
    assert await globex.retained() == []

    second = await acme.install()
    assert await acme.notes() == {"notes": NOTES, "found": len(NOTES)}
    assert await acme.retained() == []

    await acme.add({"more": "text"})
    notes = NOTES | {"more": "text"}
    await acme.uninstall(second, "export")
    path = f"/api/plugins/retained/{second}/export"
    assert_problem(await globex.caller.ask("GET", path), 404, "retained_data_not_found")
    assert_problem(await acme.caller.ask("GET", path, role="manager"), 403, "forbidden")
    answer = await acme.caller.ask("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    assert len(answer.content) > 128 * 1024  # more than one part
    lines = [json.loads(line, parse_float=Decimal) for line in answer.text.splitlines()]
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    rows = [line["row"] for line in lines if line["type"] == "row"]
    assert {row["title"]: row["text"] for row in rows} == notes
    assert {str(row["price"]) for row in rows} == {"1.50"}
    values = {line["key"]: line["value"] for line in lines if line["type"] == "value"}
    assert values == {title: len(text) for title, text in notes.items()} | {"found-at-install": len(NOTES)}
    assert [line["url"] for line in lines if line["type"] == "webhook"] == ["https://api.example.com/hook"]
    assert [line["schedule"] for line in lines if line["type"] == "schedule"] == ["nightly"]
    assert "whsec" not in answer.text
    assert "sk-live" not in answer.text
    assert "sealed" not in answer.text

    third = await acme.install()
    assert await acme.notes() == {"notes": {}, "found": 0}
    await acme.uninstall(third, None)
    assert [item["installationId"] for item in await acme.retained()] == [second]
    await globex.uninstall(theirs, None)


@pytest.mark.real
@pytest.mark.timeout(240)
async def test_a_registry_that_dies_while_the_hook_runs_loses_nothing(platform: Stack, acme: Organization) -> None:
    """Whether the hook had ended by then or not: what was asked for is what the repeated request gets."""
    installation = await acme.install()
    await acme.add({"slow": "to leave", "one": "text"})
    await acme.client.deactivate(installation)
    path = f"/api/plugins/{installation}"
    asking = asyncio.create_task(acme.caller.ask("DELETE", path, params={"data": "export"}))

    async def uninstalling() -> bool:
        return bool((await acme.caller.read(installation))["status"] == "uninstalling")

    await until(uninstalling, within=10, what="the uninstallation has begun")
    platform.kill("registry")
    assert (await asking).status_code == 503
    await until_ready(platform, "registry")

    async def removed() -> bool:
        # Refused as long as a worker might still be at it.
        answer = await acme.caller.ask("DELETE", path)
        assert answer.status_code in (204, 409, 503), answer.text
        return answer.status_code == 204

    await until(removed, within=60, what="the uninstallation was repeated")
    assert installation in [item["installationId"] for item in await acme.retained() if item["data"] == "export"]
    answer = await acme.caller.ask("GET", f"/api/plugins/retained/{installation}/export")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    # The hook itself deletes the notes; nothing else of what it could not know is gone.
    assert {line["key"] for line in lines if line["type"] == "value"} == {
        "found-at-install", "slow", "one", "slow-to-leave",
    }  # fmt: skip
    assert lines[-1]["type"] == "end"
