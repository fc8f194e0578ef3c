"""``/api/plugins/{id}/logs``: what plugins log reaches their own organization, and nobody else."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from outlet.local.issuer import Issuer
from outlet.local.roles import Role
from services.common.runtime_client import PluginFailed
from services.runtime.plugin_logs import PluginLogs
from tests.gateway.conftest import Organization


@pytest.fixture
async def logs(gateway_redis_url: str) -> Any:
    """Writes lines as a worker does."""
    async with Redis.from_url(gateway_redis_url) as redis:

        async def write(found: str, *messages: str) -> None:
            gathered = PluginLogs()
            for message in messages:
                gathered.add(found, "info", message, "sale.created", "s1", {"n": 1})
            await gathered.flush(redis)

        yield write


@pytest.fixture
async def found(organization: Organization) -> str:
    name = str(uuid.uuid4())
    await organization.install(id=name)
    return name


def use(client: httpx.AsyncClient, issuer: Issuer, role: Role, org: str, store: str | None = None) -> None:
    client.headers["Authorization"] = f"Bearer {issuer.token(role, org, store=store)}"


async def test_the_newest_lines_come_in_order_and_then_what_follows(
    client: httpx.AsyncClient, issuer: Issuer, organization: Organization, found: str, logs: Any
) -> None:
    use(client, issuer, "manager", organization.name)
    await logs(found, "one", "two", "three")
    path = f"/api/plugins/{found}/logs"
    page = (await client.get(path, params={"limit": 2})).json()
    assert [line["message"] for line in page["lines"]] == ["two", "three"]
    line = page["lines"][0]
    assert (line["level"], line["during"], line["storeId"], line["meta"]) == ("info", "sale.created", "s1", {"n": 1})
    waiting = asyncio.create_task(client.get(path, params={"after": page["nextAfter"], "wait": 10}))
    await logs(found, "four")
    assert [line["message"] for line in (await waiting).json()["lines"]] == ["four"]
    last = (await client.get(path, params={"after": page["nextAfter"], "limit": 1})).json()
    assert (await client.get(path, params={"after": last["nextAfter"]})).json() == {
        "lines": [],
        "nextAfter": last["nextAfter"],
    }


async def test_a_failure_is_a_line_with_its_stack(
    client: httpx.AsyncClient, issuer: Issuer, organization: Organization, found: str, gateway_redis_url: str
) -> None:
    use(client, issuer, "manager", organization.name)
    gathered = PluginLogs()
    gathered.failed(found, "GET /points", None, PluginFailed("plugin_raised", "KeyError: 'x'", "Traceback ..."))
    async with Redis.from_url(gateway_redis_url) as redis:
        await gathered.flush(redis)
    [line] = (await client.get(f"/api/plugins/{found}/logs")).json()["lines"]
    assert (line["level"], line["code"], line["stack"]) == ("error", "plugin_raised", "Traceback ...")


async def test_only_those_who_see_the_installation_see_its_log(
    client: httpx.AsyncClient, issuer: Issuer, organization: Organization, found: str, logs: Any
) -> None:
    await logs(found, "secret")
    path = f"/api/plugins/{found}/logs"
    assert (await client.get(path)).status_code == 401
    use(client, issuer, "cashier", organization.name)
    assert (await client.get(path)).status_code == 403
    use(client, issuer, "owner", "another")
    refused = await client.get(path)
    assert (refused.status_code, refused.json()["code"]) == (404, "installation_not_found")
    assert "secret" not in refused.text
    use(client, issuer, "owner", organization.name)
    assert (await client.get(f"/api/plugins/{uuid.uuid4()}/logs")).status_code == 404


async def test_a_manager_of_another_store_does_not_see_it(
    client: httpx.AsyncClient, issuer: Issuer, organization: Organization
) -> None:
    name = str(uuid.uuid4())
    await organization.install(id=name, store_id="s1")
    use(client, issuer, "manager", organization.name, store="s2")
    assert (await client.get(f"/api/plugins/{name}/logs")).status_code == 404
    use(client, issuer, "manager", organization.name, store="s1")
    assert (await client.get(f"/api/plugins/{name}/logs")).status_code == 200


@pytest.mark.parametrize("after", ["$", "0", "x-1", "1-1 COUNT 5", ""])
async def test_a_position_is_one_that_a_log_gave_out(
    client: httpx.AsyncClient, issuer: Issuer, organization: Organization, found: str, after: str
) -> None:
    use(client, issuer, "manager", organization.name)
    refused = await client.get(f"/api/plugins/{found}/logs", params={"after": after})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
