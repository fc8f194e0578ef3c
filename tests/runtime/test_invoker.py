"""What becomes of an invocation: committed once, blamed on the plugin, or tried again because the platform failed."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from services.common.directory import Installation
from services.common.runtime_client import PluginFailed
from services.runtime.delivery.unit_of_work import already_done
from services.runtime.invocation import Invocation, Kind
from services.runtime.invoker import Invoker
from services.runtime.packages import PackageUnavailable
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall, PluginInterrupted
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, Script, ScriptedSandbox, raising, route_result

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

EMIT: tuple[str, dict[str, Any]] = ("events.emit", {"event": "done", "data": {}})


class Uncounted:
    """Takes the counts that these tests do not look at."""

    def api_called(self, _: Installation) -> None:
        return None


def invoker(pool: Pool, script: Script) -> tuple[Invoker, ScriptedSandbox]:
    sandbox = ScriptedSandbox(script)
    return Invoker(pool, sandbox, resources(), Uncounted()), sandbox  # type: ignore[arg-type]


def invocation(kind: Kind = "hook", target: str = "sale.created", found: Installation | None = None) -> Invocation:
    return Invocation(found or installation(), kind, target, "urn:pos", uuid.uuid4().hex, "s1", b"", 5.0)


async def emitted(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def emit(api: Api, _: GuestCall) -> bytes | None:
    await api(*EMIT)
    return None


async def test_effects_are_kept_once_however_often_the_event_comes(runtime_pool: Pool) -> None:
    runner, sandbox = invoker(runtime_pool, emit)
    event = invocation()
    for _ in range(3):
        await runner.run(event)
    assert await emitted(runtime_pool) == 1
    assert len(sandbox.calls) == 3  # whoever asks the inbox first (the dispatcher) spares the plugin the call


async def test_a_repeated_request_is_answered_as_the_first_one_was(runtime_pool: Pool) -> None:
    answers = iter([route_result(201), route_result(500)])

    async def route(api: Api, _: GuestCall) -> bytes | None:
        await api(*EMIT)
        return next(answers)

    runner, _ = invoker(runtime_pool, route)
    request = invocation("route", "POST /redeem")
    assert await runner.run(request) == await runner.run(request) == route_result(201)


async def test_what_a_failing_plugin_did_is_undone(runtime_pool: Pool) -> None:
    async def fail(api: Api, call: GuestCall) -> bytes | None:
        await api(*EMIT)
        return await raising(api, call)

    runner, _ = invoker(runtime_pool, fail)
    event = invocation()
    with pytest.raises(PluginFailed):
        await runner.run(event)
    assert await emitted(runtime_pool) == 0
    assert await already_done(runtime_pool, [event.key]) == set()


async def test_a_route_that_answers_with_a_problem_keeps_nothing(runtime_pool: Pool) -> None:
    async def refuse(api: Api, _: GuestCall) -> bytes | None:
        await api(*EMIT)
        return route_result(409, undo=True)

    runner, _ = invoker(runtime_pool, refuse)
    assert await runner.run(invocation("route", "POST /redeem")) == route_result(409, undo=True)
    assert await emitted(runtime_pool) == 0


async def test_rubbish_from_a_route_is_the_plugins_failure_and_keeps_nothing(runtime_pool: Pool) -> None:
    async def rubbish(api: Api, _: GuestCall) -> bytes | None:
        await api(*EMIT)
        return b"\xff rubbish"

    runner, _ = invoker(runtime_pool, rubbish)
    with pytest.raises(PluginFailed) as failure:
        await runner.run(invocation("route", "GET /"))
    assert failure.value.code == "plugin_bad_result"
    assert await emitted(runtime_pool) == 0


async def test_an_interrupted_call_is_repeated_alone(runtime_pool: Pool) -> None:
    async def interrupted_once(api: Api, _: GuestCall) -> bytes | None:
        await api(*EMIT)
        if len(sandbox.calls) == 1:
            raise PluginInterrupted("the guest ended")
        return None

    runner, sandbox = invoker(runtime_pool, interrupted_once)
    await runner.run(invocation())
    assert [alone for _, alone in sandbox.calls] == [False, True]
    assert await emitted(runtime_pool) == 1


async def test_a_package_that_cannot_be_fetched_is_waited_for(runtime_pool: Pool) -> None:
    async def registry_away(api: Api, call: GuestCall) -> bytes | None:
        if len(sandbox.calls) < 3:
            raise PackageUnavailable("the registry is away")
        return await emit(api, call)

    runner, sandbox = invoker(runtime_pool, registry_away)
    await runner.run(invocation())
    assert await emitted(runtime_pool) == 1


async def test_a_plugin_is_not_blamed_for_a_database_that_went_away_under_it(runtime_pool: Pool) -> None:
    async def cut_off_once(api: Api, call: GuestCall) -> bytes | None:
        await api(*EMIT)
        if len(sandbox.calls) == 1:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            await runtime_pool.execute(others)
            with pytest.raises(ApiRefusal, match="could not do this"):
                await api(*EMIT)
            return await raising(api, call)
        return None

    runner, sandbox = invoker(runtime_pool, cut_off_once)
    await runner.run(invocation())
    assert len(sandbox.calls) == 2
    assert await emitted(runtime_pool) == 1


async def test_a_plugin_that_swallows_a_failed_statement_fails_as_a_whole(
    runtime_pool: Pool, platform_pool: Pool
) -> None:
    found = installation()
    definition = {"columns": {"name": {"type": "text"}}, "unique": [["name"]]}

    async def install(api: Api, _: GuestCall) -> bytes | None:
        await api("tables.define", {"name": "names", "definition": definition})
        return None

    async def swallow(api: Api, _: GuestCall) -> bytes | None:
        create: tuple[str, dict[str, Any]] = ("tables.create", {"table": "names", "values": {"name": "same"}})
        await api(*create)
        with pytest.raises(ApiRefusal):
            await api(*create)
        return None

    await invoker(runtime_pool, install)[0].run(invocation("lifecycle", "onInstall", found))
    with pytest.raises(PluginFailed, match="database operation failed"):
        await invoker(runtime_pool, swallow)[0].run(invocation(found=found))
    assert await platform_pool.fetchval('SELECT count(*) FROM plugin_data."loyalty_points__names"') == 0


async def test_a_call_that_ends_before_its_own_database_call_fails_as_a_whole(runtime_pool: Pool) -> None:
    async def forget_to_await(api: Api, _: GuestCall) -> bytes | None:
        task = asyncio.ensure_future(api(*EMIT))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    runner, _ = invoker(runtime_pool, forget_to_await)
    try:
        await runner.run(invocation())
    except PluginFailed as failure:
        assert "await every one" in failure.message  # noqa: PT017  whether the statement began is not ours to say
    assert await emitted(runtime_pool) == 0


async def test_a_lifecycle_hook_returns_the_configuration_it_changed_also_when_repeated(runtime_pool: Pool) -> None:
    async def configure(api: Api, _: GuestCall) -> bytes | None:
        await api("config.set", {"key": "rate", "value": 2})
        await api(*EMIT)
        return None

    runner, _ = invoker(runtime_pool, configure)
    operation = invocation("lifecycle", "onInstall", installation(config={"name": "x"}))
    assert await runner.run(operation) == await runner.run(operation) == b'{"name":"x","rate":2}'


async def test_uninstalling_removes_what_was_stored_even_when_the_hook_is_overruled(
    runtime_pool: Pool, platform_pool: Pool
) -> None:
    definition = {"columns": {"name": {"type": "text"}}}

    async def install(api: Api, _: GuestCall) -> bytes | None:
        await api("tables.define", {"name": "names", "definition": definition})
        await api("tables.create", {"table": "names", "values": {"name": "x"}})
        return None

    async def rows() -> int:
        count: int = await platform_pool.fetchval('SELECT count(*) FROM plugin_data."loyalty_points__names"')
        return count

    leaving, staying, failing = installation(), installation(), installation()
    for found in (leaving, staying, failing):
        await invoker(runtime_pool, install)[0].run(invocation("lifecycle", "onInstall", found))
    await invoker(runtime_pool, emit)[0].run(invocation("lifecycle", "onUninstall", leaving))
    assert await rows() == 2
    runner, _ = invoker(runtime_pool, raising)
    with pytest.raises(PluginFailed):
        await runner.run(invocation("lifecycle", "onUninstall", failing))
    assert await rows() == 2
    await runner.pass_over(invocation("lifecycle", "onUninstall", failing))
    assert await rows() == 1


async def test_an_update_clears_what_neither_its_version_nor_the_one_before_declares(
    runtime_pool: Pool, platform_pool: Pool
) -> None:
    """Until then it is what a rollback needs; after that nobody can reach it any more."""
    text = {"type": "text", "default": "empty"}

    def declares(*columns: str) -> Script:
        async def script(api: Api, _: GuestCall) -> bytes | None:
            definition = {"columns": dict.fromkeys(columns, text)}
            await api("tables.define", {"name": "notes", "definition": definition})
            return None

        return script

    async def rows() -> list[tuple[str, str]]:
        found = await platform_pool.fetch('SELECT a, b FROM plugin_data."clearing__notes" ORDER BY a')
        return [(row["a"], row["b"]) for row in found]

    async def update(former: str, digest: str, *columns: str) -> None:
        runner, _ = invoker(runtime_pool, declares(*columns))
        now = msgspec.structs.replace(found, digest=digest)
        operation = replace(invocation("lifecycle", "onUpdate", now), former_digest=former)
        await runner.run(operation)

    async def fill(api: Api, call: GuestCall) -> bytes | None:
        await declares("a", "b")(api, call)
        await api("tables.create", {"table": "notes", "values": {"a": "mine", "b": "left out later"}})
        return None

    found = installation("clearing", digest="one")
    other = installation("clearing", organization="globex", digest="one")
    for each in (found, other):
        await invoker(runtime_pool, fill)[0].run(invocation("lifecycle", "onInstall", each))
    await update("one", "two", "a")
    assert await rows() == [("mine", "left out later")] * 2
    await update("two", "three", "a")
    assert sorted(await rows()) == [("mine", "empty"), ("mine", "left out later")]
