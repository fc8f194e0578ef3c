"""A plugin that changes its own settings where it works, on real PostgreSQL and Kafka."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import build
from services.common.setting_changes import decode_change
from services.common.topics import CONFIGURATION, DEAD_LETTERS, INSTALLATIONS
from tests.e2e.support import Caller, environment
from tests.e2e.topics import read_topic, send
from tests.support.real import RealParts

ORGANIZATION = "plugin-settings"
STORE = "store-1"
SECRET = "sk-live-2718281828"
PLUGIN_ID = "self-adjusting"

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Self-adjusting"
version = "1.0.0"
author = "Tests"
description = "Changes its own settings."

[settings]
type = "object"
additionalProperties = false

[settings.properties]
apiKey = {{ type = "string", format = "secret" }}
largest = {{ type = "number", minimum = 0, default = 0 }}
label = {{ type = "string", maxLength = 10 }}
jobs = {{ type = "integer" }}
"""

_CODE = """
from outlet import ApiError, Plugin

plugin = Plugin()


@plugin.hook("sale.created")
async def learn(api, event):
    await api.set_config("largest", event.data["amount"])
    assert api.get_config("largest") == event.data["amount"]
    if event.data.get("fail"):
        raise RuntimeError("not this one")
    await api.enqueue("count", event.data["amount"])


@plugin.job("count")
async def count(api, job):
    await api.set_config("jobs", job.payload)


@plugin.route("POST", "/label/{label}")
async def label(api, request):
    refused = []
    for key, value in ((("label", request.params["label"])), ("apiKey", "sk-forged")):
        try:
            await api.set_config(key, value)
        except ApiError as error:
            refused.append(error.code)
    return {"label": api.get_config("label"), "refused": refused}


@plugin.route("GET", "/settings")
async def settings(api, request):
    return {name: api.get_config(name) for name in ("largest", "label", "jobs")}
"""


@dataclass(frozen=True)
class Platform:
    stack: Stack
    caller: Caller
    client: GatewayClient
    installation: str

    async def config(self) -> dict[str, Any]:
        return dict((await self.caller.read(self.installation))["config"])

    async def until_config(self, **wanted: Any) -> None:
        async def reached() -> bool:
            found = await self.config()
            return all(found.get(name) == value for name, value in wanted.items())

        await until(reached, within=30, what=f"the registry has {wanted}")

    async def sale(self, number: int, **data: Any) -> None:
        sale = {"id": f"sale-{number}", **data}
        headers = {
            "specversion": "1.0", "id": f"event-{number}", "source": "urn:pos", "type": "sale.created",
            "time": "2026-02-01T10:00:00Z", "organization": ORGANIZATION, "store": STORE,
        }  # fmt: skip
        await send(
            self.stack.bootstrap,
            "outlet.events.sale",
            json.dumps(sale).encode(),
            key=f"{ORGANIZATION}/{STORE}/sale-{number}".encode(),
            headers=[("content-type", b"application/json"), *((f"ce_{k}", v.encode()) for k, v in headers.items())],
        )


@pytest.fixture(scope="module")
async def platform(real_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "adjusting").mkdir()
    (folder / "plugin.toml").write_text(_ABOUT.replace("[plugin]", '[plugin]\nentry = "adjusting:plugin"', 1))
    (folder / "adjusting" / "__init__.py").write_text(_CODE)
    async with (
        Stack(
            tmp_path_factory.mktemp("platform"),
            environ=environment({**real_parts.environment(), "OUTLET_HOOK_ATTEMPTS": "1"}),
            durable=False,
        ) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        await client.publish(build(folder).data)
        answer = await caller.ask(
            "POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID, "config": {"apiKey": SECRET}}
        )
        assert answer.status_code == 201, answer.text
        installation = str(answer.json()["id"])
        await client.activate(installation)
        await scenario.rolled_out(client, installation, "active")
        yield Platform(stack, caller, client, installation)


@pytest.mark.real
@pytest.mark.timeout(240)
async def test_changes_of_hooks_jobs_and_routes_are_taken_over_once(platform: Platform) -> None:
    bootstrap = platform.stack.bootstrap
    await platform.sale(1, amount=10)
    await platform.until_config(largest=10, jobs=10)

    answer = await platform.client.route("POST", PLUGIN_ID, "/label/mine", store=STORE)
    assert answer.json() == {"label": "mine", "refused": ["secret_setting"]}
    answer = await platform.client.route("POST", PLUGIN_ID, "/label/much-too-long-for-it", store=STORE)
    assert answer.json()["refused"] == ["invalid_config", "secret_setting"]
    await platform.until_config(label="mine")

    async def seen() -> bool:
        found = await platform.client.route("GET", PLUGIN_ID, "/settings", store=STORE)
        return bool(found.json() == {"largest": 10, "label": "mine", "jobs": 10})

    await until(seen, within=30, what="the worker has the directory's new state")

    # A hook that fails leaves no change behind; one that comes after it shows that the registry is past it.
    await platform.sale(2, amount=99, fail=True)

    async def dead() -> bool:
        letters = await read_topic(bootstrap, DEAD_LETTERS.name)
        return any(dict(letter.headers).get("ce_id") == b"event-2" for letter in letters)

    await until(dead, within=30, what="the failed hook is a dead letter")
    await platform.client.route("POST", PLUGIN_ID, "/label/after", store=STORE)
    await platform.until_config(label="after", largest=10)

    # The outbox sends at least once: the same records again, after others that are newer.
    changes = [record for record in await read_topic(bootstrap, CONFIGURATION.name) if record.value]
    own = [record for record in changes if decode_change(record.value).installation_id == platform.installation]
    assert 99 not in [decode_change(record.value).value for record in own]
    for record in own:
        await send(bootstrap, CONFIGURATION.name, record.value, key=record.key)
    await platform.sale(3, amount=11)
    await platform.until_config(largest=11, jobs=11, label="after")

    async def told() -> bool:
        errors = (await platform.caller.read(platform.installation))["errors"]
        return [error["code"] for error in errors] == ["plugin_raised"]

    await until(told, within=15, what="the installation shows the failure")


@pytest.mark.real
@pytest.mark.timeout(240)
async def test_the_secret_is_nowhere_in_clear_on_real_parts(platform: Platform) -> None:
    assert (await platform.config())["apiKey"] == {"set": True}
    connection = await asyncpg.connect(platform.stack.database_urls["registry"])
    try:
        config = await connection.fetchval(
            "SELECT config::text FROM installation WHERE id::text = $1", platform.installation
        )
    finally:
        await connection.close()
    assert "sealed" in config
    assert SECRET not in config
    records = await read_topic(platform.stack.bootstrap, INSTALLATIONS.name)
    own = [record for record in records if record.key == platform.installation.encode() and record.value]
    assert own
    assert not [record for record in records if record.value and SECRET.encode() in record.value]
