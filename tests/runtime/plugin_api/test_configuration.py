"""``config.set``: part of the call's transaction everywhere, and refused where the settings schema says so."""

import json
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.common.directory import Installation
from services.common.runtime_client import PluginFailed
from services.common.setting_changes import SettingChange, decode_change
from services.common.topics import CONFIGURATION
from services.runtime.invocation import Invocation, Kind
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls
from tests.runtime.scripted import Api, raising, route_result
from tests.runtime.test_invoker import invoker

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiKey"],
    "properties": {
        "apiKey": {"type": "string", "format": "secret", "minLength": 5},
        "rate": {"type": "number", "minimum": 0},
        "label": {"type": "string", "maxLength": 5},
        "labels": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
}
SEALED = {"sealed": "1.000000000000.AAAA"}


@pytest.fixture
def found() -> Installation:
    return installation(settings_schema=SETTINGS, config={"apiKey": SEALED, "rate": 1})


def setting(key: str, value: Any) -> tuple[str, dict[str, Any]]:
    return "config.set", {"key": key, "value": value}


def call(found: Installation, kind: Kind = "hook", target: str = "sale.created", cause: str = "e1") -> Invocation:
    return Invocation(found, kind, target, "urn:pos", cause, "s1", b"", 5.0)


async def sent(pool: Pool) -> list[SettingChange]:
    rows = await pool.fetch("SELECT key, value FROM outbox WHERE topic = $1 ORDER BY id", CONFIGURATION.name)
    changes = [decode_change(row["value"]) for row in rows]
    assert [row["key"] for row in rows] == [change.installation_id for change in changes]
    return changes


@pytest.mark.parametrize("kind", ["hook", "route", "schedule", "job"])
async def test_a_change_is_sent_once_with_what_else_the_call_did(
    runtime_pool: Pool, found: Installation, kind: Kind
) -> None:
    async def change(api: Api, _: GuestCall) -> bytes | None:
        await api(*setting("rate", Decimal("0.10")))
        await api(*setting("label", "a"))
        return route_result() if kind == "route" else None

    runner, sandbox = invoker(runtime_pool, change)
    for _ in range(2):
        await runner.run(call(found, kind))
    assert len(sandbox.calls) == 2
    rate, label = await sent(runtime_pool)
    assert (rate.installation_id, rate.organization_id, rate.during) == (found.id, "acme", "sale.created")
    assert (rate.key, rate.value, label.key, label.value) == ("rate", 0.1, "label", "a")
    assert rate.id != label.id
    await runner.run(call(found, kind, cause="e2"))
    assert len({change.id for change in await sent(runtime_pool)}) == 4


async def test_what_a_failing_call_changed_is_undone_and_repeated_with_the_same_id(
    runtime_pool: Pool, found: Installation
) -> None:
    ids: list[str] = []

    async def change(api: Api, guest: GuestCall) -> bytes | None:
        await api(*setting("rate", 2))
        return await raising(api, guest) if not ids else None

    runner, _ = invoker(runtime_pool, change)
    with pytest.raises(PluginFailed):
        await runner.run(call(found))
    assert await sent(runtime_pool) == []
    ids.append("once more")
    await runner.run(call(found))
    (first,) = await sent(runtime_pool)
    await runtime_pool.execute("DELETE FROM outbox")
    await runtime_pool.execute("DELETE FROM inbox")  # the same cause again, as after a crash before the commit
    await runner.run(call(found))
    assert [change.id for change in await sent(runtime_pool)] == [first.id]


async def test_a_route_that_answers_with_a_problem_changes_nothing(runtime_pool: Pool, found: Installation) -> None:
    async def change(api: Api, _: GuestCall) -> bytes | None:
        await api(*setting("rate", 2))
        return route_result(409, undo=True)

    runner, _ = invoker(runtime_pool, change)
    await runner.run(call(found, "route", "POST /rate"))
    assert await sent(runtime_pool) == []


async def test_a_lifecycle_hook_answers_its_change_and_sends_none(runtime_pool: Pool, found: Installation) -> None:
    async def change(api: Api, _: GuestCall) -> bytes | None:
        await api(*setting("rate", Decimal("0.10")))
        return None

    runner, _ = invoker(runtime_pool, change)
    answered = json.loads(await runner.run(call(found, "lifecycle", "onActivate")))
    assert answered == {"apiKey": SEALED, "rate": 0.1}
    assert await sent(runtime_pool) == []


@pytest.mark.parametrize("kind", ["hook", "lifecycle"])
@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("rate", -1, "invalid_config"),
        ("rate", "1", "invalid_config"),
        ("rate", Decimal("1e999"), "invalid_value"),
        ("label", "longer", "invalid_config"),
        ("unknown", 1, "invalid_config"),
        ("labels", ["a", "a"], "invalid_config"),
        ("apiKey", "sk-forged", "secret_setting"),
        ("label", "\0", "invalid_value"),
        ("label", b"bytes", "invalid_value"),
        ("label", "x" * 70_000, "value_too_large"),
        ("labels", [str(number) for number in range(7_000)], "too_much_to_validate"),
    ],
)
async def test_what_the_schema_does_not_allow_is_refused_at_the_call(
    runtime_pool: Pool, found: Installation, kind: Kind, key: str, value: Any, code: str
) -> None:
    calls = Calls(runtime_pool)
    with pytest.raises(ApiRefusal) as refused:
        await calls(found, setting(key, value), kind=kind)
    assert refused.value.code == code
    assert await sent(runtime_pool) == []


async def test_a_change_is_checked_with_those_before_it(runtime_pool: Pool) -> None:
    schema = {"type": "object", "maxProperties": 2}
    calls = Calls(runtime_pool)
    found = installation(settings_schema=schema, config={"a": 1})
    with pytest.raises(ApiRefusal, match="too many properties"):
        await calls(found, setting("b", 1), setting("c", 1))
    await calls(found, setting("b", 1), setting("a", 2), setting("b", 2))
    assert [(change.key, change.value) for change in await sent(runtime_pool)] == [("b", 1), ("a", 2), ("b", 2)]


async def test_settings_are_not_changed_within_a_savepoint(runtime_pool: Pool, found: Installation) -> None:
    calls = Calls(runtime_pool)
    with pytest.raises(ApiRefusal, match="outside of"):
        await calls(found, ("transactions.begin", {}), ("config.set", {"key": "rate", "value": 2, "$savepoint": 1}))
