"""Calls between plugins: who may call what, how deep, and what a repetition does."""

import asyncio
from itertools import pairwise
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from outlet._calls import RouteCall
from outlet.manifest import Limits, PluginCall, RouteDeclaration
from services.common.directory import Directory, Installation
from services.common.runtime_client import PluginFailed
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall, GuestKey
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox, raising, route_result

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
READ = {"plugin": "points", "method": "GET", "path": "/points/c-1"}
ROUTES = (
    RouteDeclaration(method="GET", path="/points/{customer}"),
    RouteDeclaration(method="GET", path="/points/secrets"),
    RouteDeclaration(method="POST", path="/points/{customer}"),
)


class Reports:
    def __init__(self) -> None:
        self.routes: list[str] = []
        self.failures: list[str] = []

    def api_called(self, _: Installation) -> None:
        return None

    def route_called(self, found: Installation, __: str, ___: str | None, seconds: float) -> None:
        self.routes.append(found.plugin_id)

    def failed(self, found: Installation, _: str, failure: PluginFailed, *, store: str | None) -> None:
        self.failures.append(f"{found.plugin_id} {failure.code}")


class Plugins(ScriptedSandbox):
    """A script for each plugin."""

    def __init__(self, **scripts: Script) -> None:
        super().__init__(raising)
        self.scripts = scripts
        self.called: list[tuple[str, GuestCall]] = []

    async def invoke(
        self, _: GuestKey, call: GuestCall, api: Api, *, deadline: float, alone: bool = False, wanted: Limits
    ) -> bytes:
        self.called.append((_.plugin_id, call))
        try:
            return await self.scripts[_.plugin_id](api, call) or b""
        except ApiRefusal as refusal:
            raise PluginFailed("plugin_raised", f"ApiError: {refusal.code}") from refusal

    def payload(self, plugin_id: str) -> RouteCall:
        found = next(call for plugin, call in self.called if plugin == plugin_id)
        return msgspec.msgpack.decode(found.payload, type=RouteCall)


class Platform:
    def __init__(self, pool: Pool, **scripts: Script) -> None:
        self.directory = Directory()
        self.sandbox = Plugins(**scripts)
        self.reports: Any = Reports()
        held = resources(directory=self.directory)
        self.invoker = Invoker(pool, self.sandbox, held, self.reports)  # type: ignore[arg-type]

    def install(self, plugin_id: str, *calls: str, grants: tuple[str, ...] | None = None, **facts: Any) -> Installation:
        declared = {
            "routes": ROUTES,
            "exports": ("GET /points/{customer}", "POST /points/{customer}"),
            "calls": tuple(PluginCall(plugin_id=other, purpose="to test") for other in calls),
        }
        found = installation(plugin_id, **(declared | facts))
        granted = tuple(f"call:{other}" for other in calls) if grants is None else grants
        found = msgspec.structs.replace(found, grants=granted)
        self.directory.put(found)
        return found

    async def hook(self, found: Installation, cause: str = "e1", deadline: float = 5.0) -> bytes:
        invocation = Invocation(found, "hook", "sale.created", "urn:pos", cause, "s1", b"", deadline)
        return await self.invoker.run(invocation)


def calling(arguments: dict[str, Any], answers: list[Any]) -> Script:
    async def script(api: Api, _: GuestCall) -> bytes | None:
        try:
            answers.append(await api("plugins.call", dict(arguments)))
        except ApiRefusal as refusal:
            answers.append(refusal.code)
        return None

    return script


async def answer(_: Api, __: GuestCall) -> bytes | None:
    return route_result(201)


async def outcome(pool: Pool, arguments: dict[str, Any], install: Any) -> Any:
    """What the plugin ``shop`` gets for one call, on a platform that ``install`` has set up."""
    answers: list[Any] = []
    platform = Platform(pool, shop=calling(arguments, answers), points=answer)
    await platform.hook(install(platform))
    return answers[0]


async def test_an_exported_route_is_answered_to_whoever_is_granted_it(runtime_pool: Pool) -> None:
    answers: list[Any] = []
    arguments = {**READ, "query": "a=1", "body": b"{}", "content_type": "application/json"}
    platform = Platform(runtime_pool, shop=calling(arguments, answers), points=answer)
    platform.install("points")
    await platform.hook(platform.install("shop", "points"))
    assert answers == [{"status": 201, "headers": {}, "body": b"{}"}]
    asked = platform.sandbox.payload("points")
    assert (asked.method, asked.path, asked.query, asked.body) == ("GET", "/points/c-1", "a=1", b"{}")
    assert (asked.subject, asked.role, asked.store) == ("plugin:shop", "plugin", "s1")
    assert platform.reports.routes == ["points"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"path": "/points/secrets"}, "not_exported"),
        ({"path": "/points/%73ecrets"}, None),  # a customer of that name: no route is found by decoding
        ({"method": "HEAD"}, "not_exported"),
        ({"method": "DELETE"}, "not_exported"),
        ({"path": "/elsewhere"}, "not_exported"),
        ({"path": "points"}, "invalid_path"),
        ({"path": "/points/a b"}, "invalid_path"),
        ({"path": "/points/a\r\nb"}, "invalid_path"),
        ({"query": "a=1#b"}, "invalid_path"),
        ({"plugin": "other"}, "call_not_declared"),
        ({"plugin": "shop"}, "call_not_declared"),
    ],
)
async def test_only_what_is_exported_can_be_reached(
    runtime_pool: Pool, changes: dict[str, Any], code: str | None
) -> None:
    def install(platform: Platform) -> Installation:
        platform.install("points")
        return platform.install("shop", "points")

    found = await outcome(runtime_pool, READ | changes, install)
    assert found == code if code else found["status"] == 201


@pytest.mark.parametrize(
    ("own", "other", "code"),
    [
        ({"grants": ()}, {}, "permission_denied"),
        ({"grants": ("call:other",)}, {}, "permission_denied"),
        ({}, {"status": "inactive"}, "plugin_not_active"),
        ({}, {"organization": "globex"}, "plugin_not_active"),
        ({}, {"store": "s2"}, "plugin_not_active"),
        ({}, {"exports": ()}, "not_exported"),
    ],
)
async def test_both_sides_and_the_organization_must_agree(
    runtime_pool: Pool, own: dict[str, Any], other: dict[str, Any], code: str
) -> None:
    def install(platform: Platform) -> Installation:
        platform.install("points", **other)
        return platform.install("shop", "points", **own)

    assert await outcome(runtime_pool, READ, install) == code


async def test_a_repeated_caller_does_not_double_what_it_called(runtime_pool: Pool) -> None:
    answers: list[Any] = []
    statuses = iter([201, 500, 202])

    async def redeem(api: Api, _: GuestCall) -> bytes | None:
        await api("events.emit", {"event": "redeemed", "data": {}})
        return route_result(next(statuses))

    async def fail_once(api: Api, call: GuestCall) -> bytes | None:
        answers.append((await api("plugins.call", {**READ, "method": "POST"}))["status"])
        answers.append((await api("plugins.call", {**READ, "method": "POST"}))["status"])
        return await raising(api, call) if len(answers) == 2 else None

    platform = Platform(runtime_pool, shop=fail_once, points=redeem)
    platform.install("points")
    shop = platform.install("shop", "points")
    with pytest.raises(PluginFailed):
        await platform.hook(shop)
    await platform.hook(shop)
    assert answers == [201, 500, 201, 500]
    assert await runtime_pool.fetchval("SELECT count(*) FROM outbox") == 2


async def test_what_is_called_has_a_transaction_of_its_own(runtime_pool: Pool) -> None:
    async def emit_and_call(api: Api, call: GuestCall) -> bytes | None:
        await api("events.emit", {"event": "lost", "data": {}})
        await api("plugins.call", READ)
        return await raising(api, call)

    async def emit(api: Api, _: GuestCall) -> bytes | None:
        await api("events.emit", {"event": "kept", "data": {}})
        return route_result()

    platform = Platform(runtime_pool, shop=emit_and_call, points=emit)
    platform.install("points")
    with pytest.raises(PluginFailed):
        await platform.hook(platform.install("shop", "points"))
    types = await runtime_pool.fetch("SELECT headers ->> 'ce_type' AS type FROM outbox")
    assert [row["type"] for row in types] == ["points/kept"]


async def test_a_failure_says_nothing_of_the_other_plugins_inside(runtime_pool: Pool) -> None:
    answers: list[Any] = []

    async def call(api: Api, _: GuestCall) -> bytes | None:
        with pytest.raises(ApiRefusal) as refused:
            await api("plugins.call", READ)
        answers.append((refused.value.code, refused.value.message))
        return None

    platform = Platform(runtime_pool, shop=call, points=raising)
    platform.install("points")
    await platform.hook(platform.install("shop", "points"))
    assert answers == [("call_failed", "points failed to answer GET /points/c-1 (plugin_raised)")]
    assert platform.reports.failures == ["points plugin_raised"]


async def test_a_cycle_is_refused_however_long(runtime_pool: Pool) -> None:
    answers: list[Any] = []

    def forward(plugin: str) -> Script:
        async def script(api: Api, _: GuestCall) -> bytes | None:
            try:
                await api("plugins.call", {**READ, "plugin": plugin})
            except ApiRefusal as refusal:
                answers.append((plugin, refusal.code))
            return route_result()

        return script

    chain = ["a", "b", "c", "d", "e"]
    scripts = {name: forward(after) for name, after in zip(chain, [*chain[1:], "a"], strict=True)}
    platform = Platform(runtime_pool, **scripts, f=forward("g"), g=forward("f"))
    for name, after in pairwise(chain):
        platform.install(name, after)
    await platform.hook(platform.directory.find("a", "acme", None) or installation())
    assert answers == [("e", "call_too_deep")]
    answers.clear()
    platform.install("g", "f")
    await platform.hook(platform.install("f", "g"))
    assert answers == [("f", "call_cycle")]


async def test_what_is_called_has_no_more_time_than_its_caller(runtime_pool: Pool) -> None:
    answers: list[Any] = []

    async def hang(_: Api, __: GuestCall) -> bytes | None:
        await asyncio.Event().wait()
        return None

    platform = Platform(runtime_pool, shop=calling(READ, answers), points=hang)
    platform.install("points")
    shop = platform.install("shop", "points")
    async with asyncio.timeout(3):
        await platform.hook(shop, deadline=0.4)
    await platform.hook(shop, deadline=0.2)
    assert answers == ["call_timeout", "call_timeout"]
    assert len(platform.sandbox.called) == 3
