"""The Plugin API as an author writes it: in a real guest, to a real database and back."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from outlet.manifest import VERBS, PluginCall, RouteDeclaration
from services.common.directory import Directory, Installation
from services.common.runtime_client import PluginFailed
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import (
    GuestKey,
    RouteRequest,
    SandboxPool,
    UpdateRequest,
    Zygote,
    read_route_result,
    route_payload,
    update_payload,
)
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.sandbox import plugins

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

SOURCE = """
from datetime import timedelta
from decimal import Decimal

@plugin.on_install
async def install(api):
    await api.create_table("ledger", {"name": column.text()}, unique=[["name"]])

@plugin.on_update
async def update(api, update):
    await api.create_table("ledger", {"name": column.text(), "since": column.text(default="ever")}, unique=[["name"]])
    await api.table("ledger").create({"name": "updated", "since": update.from_version})
    if update.from_version == "0.0.1":
        raise ValueError("too old")

@plugin.route("GET", "/data")
async def data(api, request):
    await api.set_data("price", Decimal("19.90"), expires_in=timedelta(hours=1))
    await api.increment_data("count", 2)
    page = await api.list_data(limit=1)
    gone = await api.delete_data("price")
    return {"page": dict(page), "cursor": page.cursor, "gone": gone, "price": await api.get_data("price", "none")}

@plugin.route("GET", "/transactions")
async def transactions(api, request):
    ledger = api.table("ledger")
    await ledger.create({"name": "before"})
    found = []
    try:
        async with api.transaction():
            await ledger.create({"name": "inside"})
            await ledger.create({"name": "before"})
    except ApiError as error:
        found.append(error.code)
    async with api.transaction():
        await asyncio.gather(*(ledger.create({"name": f"child {number}"}) for number in range(3)))
        try:
            async with api.transaction():
                await ledger.create({"name": "undone"})
                raise KeyError
        except KeyError:
            found.append("undone")
    outside = asyncio.get_running_loop().create_future()
    async def intrude():
        await outside
        return await ledger.create({"name": "intruder"})
    task = asyncio.create_task(intrude())
    async with api.transaction():
        outside.set_result(None)
        try:
            await task
        except ApiError as error:
            found.append(error.code)
    return {"found": found, "names": sorted(row["name"] for row in await ledger.find())}

@plugin.route("GET", "/leaves-open")
async def leaves_open(api, request):
    await api.table("ledger").create({"name": "never"})
    await api.transaction().__aenter__()
    return {}

@plugin.route("GET", "/others")
async def others(api, request):
    answer = await api.call("neighbour", "GET", "/who", query={"a": "ä"}, json={"b": 1})
    await api.notify("u-1", title="Hello", message="There")
    faults = await api.validate({"a": Decimal("0.5")}, {"properties": {"a": {"type": "integer"}}})
    return {"answer": answer.json(), "ok": answer.ok, "store": await api.get_store(),
            "organization": await api.get_organization(), "faults": [fault.path for fault in faults]}

@plugin.route("GET", "/models")
async def models(api, request):
    for number in range(3):
        await api.models.Product.create({"id": f"p{number}", "price": Decimal(number) + Decimal("0.10"), "size": 1.5})
    page = await api.models.Product.find({"price": {"gt": 1}}, sort=["-price"], limit=1)
    rest = await api.models.Product.find({"price": {"gt": 1}}, sort=["-price"], limit=1, cursor=page.cursor)
    changed = await api.models.Product.update("p0", {"price": Decimal("9.90")})
    gone = await api.models.Product.delete("p1")
    rows = await api.models.Product.aggregate(["storeId"], sum=["price"])
    try:
        await api.models.Customer.find()
    except ApiError as error:
        refused = error.code
    return {"pages": [page, rest], "changed": changed, "gone": gone, "sum": str(rows[0]["sum_price"]),
            "found": await api.models.Product.find_by_id("p1"), "refused": refused}

@plugin.route("GET", "/who")
async def who(api, request):
    return {"who": request.caller.subject, "role": request.caller.role, "query": request.query, "body": request.json()}
"""


class Unreported:
    def api_called(self, _: Installation) -> None:
        return None

    def route_called(self, _: Installation, __: str, ___: str | None, seconds: float) -> None:
        return None


class Spent:
    """Nothing is left."""

    async def take(self, _: str) -> None:
        raise ApiRefusal("rate_limited", "try again in 1 s")


class Platform:
    """Plugins of one package, installed side by side."""

    def __init__(self, sandbox: SandboxPool, pool: Pool, digest: str) -> None:
        self._sandbox, self._pool, self._digest = sandbox, pool, digest
        self.directory = Directory()

    def install(self, plugin_id: str, **declared: Any) -> Installation:
        found = installation(plugin_id, digest=self._digest, **declared)
        grants = (
            "notify:send",
            *(f"product:{verb}" for verb in VERBS),
            *(f"call:{each.plugin_id}" for each in found.manifest.calls),
        )
        found = msgspec.structs.replace(found, grants=grants)
        self.directory.put(found)
        return found

    async def run(self, found: Installation, kind: Any, target: str, payload: bytes = b"", **held: Any) -> bytes:
        use = resources(directory=self.directory, **held)
        invoker = Invoker(self._pool, self._sandbox, use, Unreported())  # type: ignore[arg-type]
        return await invoker.run(Invocation(found, kind, target, "urn:test", target, "s1", payload, 10.0))

    async def get(self, found: Installation, path: str, **held: Any) -> Any:
        request = route_payload(RouteRequest("GET", path, "", [], b"", "u-1", "s1", "cashier"))
        result = read_route_result(await self.run(found, "route", f"GET {path}", request, **held))
        assert result.status == 200, result.body
        return json.loads(result.body, parse_float=Decimal)


@pytest.fixture(scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    async with Zygote() as running:
        yield running


@pytest.fixture
async def platform(zygote: Zygote, runtime_pool: Pool, tmp_path: Path) -> AsyncIterator[Platform]:
    built = plugins.build(tmp_path, SOURCE)

    async def fetch(_: GuestKey) -> bytes:
        return built.data

    sandbox = SandboxPool(zygote, fetch)
    yield Platform(sandbox, runtime_pool, built.digest)
    await sandbox.close()


async def test_values_come_and_go(platform: Platform) -> None:
    assert await platform.get(platform.install("probe"), "/data") == {
        "page": {"count": 2},
        "cursor": "count",
        "gone": True,
        "price": "none",
    }


async def test_a_transaction_is_kept_or_undone_by_itself(platform: Platform, platform_pool: Pool) -> None:
    found = platform.install("probe")
    await platform.run(found, "lifecycle", "onInstall")
    assert await platform.get(found, "/transactions") == {
        "found": ["unique_violation", "undone", "transaction_open"],
        "names": ["before", "child 0", "child 1", "child 2"],
    }
    with pytest.raises(PluginFailed, match="still open"):
        await platform.get(found, "/leaves-open")
    assert await platform_pool.fetchval('SELECT count(*) FROM plugin_data."probe__ledger"') == 4


async def test_the_stores_entities_are_queried_and_changed(platform: Platform) -> None:
    products = [{"id": f"p{number}", "price": f"{number}.10", "size": "1.5"} for number in range(3)]
    assert await platform.get(platform.install("probe"), "/models") == {
        "pages": [[{**products[2], "storeId": "s1"}], [{**products[1], "storeId": "s1"}]],
        "changed": {**products[0], "price": "9.90", "storeId": "s1"},
        "gone": True,
        "sum": "12.00",
        "found": None,
        "refused": "permission_denied",
    }


async def test_other_plugins_users_and_places(platform: Platform, runtime_pool: Pool) -> None:
    routes = (RouteDeclaration(method="GET", path="/who"),)
    platform.install("neighbour", routes=routes, exports=("GET /who",))
    found = platform.install("probe", calls=(PluginCall(plugin_id="neighbour", purpose="to test"),))
    assert await platform.get(found, "/others") == {
        "answer": {"who": "plugin:probe", "role": "plugin", "query": {"a": "ä"}, "body": {"b": 1}},
        "ok": True,
        "store": {"id": "s1"},
        "organization": {"id": "acme", "stores": []},
        "faults": ["$.a"],
    }
    assert await runtime_pool.fetchval("SELECT topic FROM outbox") == "outlet.notifications"


async def test_a_plugin_that_has_used_up_its_calls_fails_for_that_reason(platform: Platform) -> None:
    with pytest.raises(PluginFailed) as failed:
        await platform.get(platform.install("probe"), "/data", rates=Spent())
    assert (failed.value.code, failed.value.message) == ("plugin_rate_limited", "try again in 1 s")


async def test_an_update_tells_its_hook_the_former_version_and_is_one_transaction(
    platform: Platform, platform_pool: Pool
) -> None:
    found = platform.install("updating")
    await platform.run(found, "lifecycle", "onInstall")
    with pytest.raises(PluginFailed, match="too old"):
        await platform.run(found, "lifecycle", "onUpdate", update_payload(UpdateRequest("0.0.1")))
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'updating__ledger'"
    before = await platform_pool.fetchval(columns)
    await platform.run(found, "lifecycle", "onUpdate", update_payload(UpdateRequest("0.9.0")))
    rows = await platform_pool.fetch('SELECT name, since FROM plugin_data."updating__ledger"')
    assert [tuple(row) for row in rows] == [("updated", "0.9.0")]
    assert await platform_pool.fetchval(columns) == before + 1
