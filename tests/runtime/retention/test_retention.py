"""What becomes of an installation's data: dropped, kept for the next one in its place, or left to be exported."""

import json
import uuid
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from services.common.directory import Directory, Installation
from services.common.runtime_client import PluginFailed
from services.runtime.invocation import Invocation
from services.runtime.isolation import Scope
from services.runtime.outbound.webhooks import repository as webhooks
from services.runtime.plugin_api import scoping
from services.runtime.retention import archive, repository
from services.runtime.retention.archive import NothingRetained
from services.runtime.retention.repository import Purpose
from services.runtime.retention.retention import MOST_EXPORTS, ExportsBusy, Retention
from services.runtime.sandbox import GuestCall
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls
from tests.runtime.scripted import Api, Script, raising
from tests.runtime.test_invoker import invoker

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

LEDGER = {
    "columns": {
        "name": {"type": "text"},
        "amount": {"type": "decimal"},
        "count": {"type": "integer", "default": 0},
        "at": {"type": "timestamp", "nullable": True},
        "more": {"type": "json", "nullable": True},
    },
    "unique": [["name"]],
}
AT = datetime(2026, 2, 1, 10, 30, tzinfo=UTC)
ROW = {"name": "first", "amount": Decimal("12345678901234567890.10"), "count": 2**53 + 1, "at": AT, "more": {"a": [1]}}


class Life:
    """Installations of one plugin, as the registry and their code would have them live."""

    def __init__(self, pool: Pool, platform_pool: Pool) -> None:
        self.pool = pool
        self.platform = platform_pool
        self.retention = Retention(pool, days=30)
        self.calls = Calls(pool)
        self.directory = Directory()

    async def run(self, target: str, found: Installation, script: Script) -> None:
        runner, _ = invoker(self.pool, script)
        invocation = Invocation(found, "lifecycle", target, "urn:registry", uuid.uuid4().hex, None, b"", 5.0)
        await runner.run(invocation)

    async def install(self, organization: str = "acme", store: str | None = None, **facts: Any) -> Installation:
        found = installation(organization=organization, store=store, **facts)
        await self.run("onInstall", found, _set_up)
        self.directory.put(found)
        return found

    async def fill(self, found: Installation, *names: str) -> None:
        for name in names:
            await self.calls(
                found,
                ("tables.create", {"table": "ledger", "values": {**ROW, "name": name}}),
                ("data.set", {"key": f"key/{name}", "value": {"name": name, "price": Decimal("19.90")}}),
            )

    async def uninstall(self, found: Installation, purpose: Purpose | None, script: Script | None = None) -> None:
        if purpose is not None:
            await self.retention.ask(found, purpose)
        await self.run("onUninstall", found, script or _nothing)
        self.directory.remove(found.id)

    async def names(self, found: Installation) -> list[str]:
        """What an installation sees of its own."""
        rows = await self.calls(found, ("tables.find", {"table": "ledger", "sort": ["name"]}))
        page = await self.calls(found, ("data.list", {"prefix": "", "limit": 100, "cursor": None}))
        keys = [key.removeprefix("key/") for key, _ in page["items"]]
        assert sorted(keys) == [row["name"] for row in rows]
        return sorted(keys)

    async def stored(self) -> int:
        """Rows of all installations together."""
        count: int = await self.platform.fetchval(
            'SELECT (SELECT count(*) FROM plugin_data."loyalty_points__ledger") + (SELECT count(*) FROM plugin_value)'
        )
        return count

    async def expire(self, *found: Installation) -> None:
        ids = [each.id for each in found]
        done = "UPDATE retained_data SET expires_at = now() WHERE installation_id = ANY($1::text[])"
        assert await self.platform.execute(done, ids) == f"UPDATE {len(ids)}"

    async def exported(self, found: Installation, organization: str = "acme", store: str | None = None) -> list[Any]:
        parts = [part async for part in self.retention.export(found.id, organization, store)]
        return [json.loads(line, parse_float=Decimal) for line in b"".join(parts).decode().splitlines()]


async def _set_up(api: Api, _: GuestCall) -> bytes | None:
    await api("tables.define", {"name": "ledger", "definition": LEDGER})
    return None


async def _nothing(_: Api, __: GuestCall) -> bytes | None:
    return None


@pytest.fixture
async def life(runtime_pool: Pool, platform_pool: Pool) -> Life:
    return Life(runtime_pool, platform_pool)


@pytest.mark.parametrize("purpose", [None, "drop"])
async def test_without_being_asked_otherwise_everything_is_dropped(life: Life, purpose: Purpose | None) -> None:
    leaving, staying = await life.install(), await life.install("globex")
    await life.fill(leaving, "a")
    await life.fill(staying, "b")
    await life.uninstall(leaving, purpose)
    assert await life.stored() == 2
    assert await life.names(staying) == ["b"]
    assert await life.platform.fetchval("SELECT count(*) FROM retained_data") == 0


async def test_what_was_kept_is_the_next_installations_before_its_hook_runs(life: Life) -> None:
    former = await life.install()
    await life.fill(former, "a", "b")
    await life.uninstall(former, "keep")
    assert await life.stored() == 4
    seen: list[Any] = []

    async def look(api: Api, call: GuestCall) -> bytes | None:
        await _set_up(api, call)
        seen.extend(await api("tables.find", {"table": "ledger"}))
        await api("tables.update", {"table": "ledger", "where": {"name": "a"}, "values": {"name": "c"}})
        await api("data.delete", {"key": "key/a"})
        await api("data.set", {"key": "key/c", "value": 1})
        return None

    present = installation()
    await life.run("onInstall", present, look)
    assert sorted(row["name"] for row in seen) == ["a", "b"]
    assert await life.names(present) == ["b", "c"]
    assert await life.names(former) == []
    assert await life.retention.listed("acme", None) == []


@pytest.mark.parametrize(
    "elsewhere",
    [{"organization": "globex"}, {"store": "s2"}, {"store": None}, {"plugin_id": "other-plugin"}],
)
async def test_another_place_does_not_get_it(life: Life, elsewhere: dict[str, Any]) -> None:
    former = await life.install(store="s1")
    await life.fill(former, "a")
    await life.uninstall(former, "keep")
    other = installation(**{"organization": "acme", "store": "s1", **elsewhere})
    await life.run("onInstall", other, _set_up)
    assert await life.names(other) == []
    again = await life.install(store="s1")
    assert await life.names(again) == ["a"]


async def test_what_was_left_to_be_exported_is_not_taken_over(life: Life) -> None:
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "export")
    assert await life.names(await life.install()) == []
    assert len(await life.exported(former)) > 1


async def test_an_installation_that_fails_leaves_what_was_kept(life: Life) -> None:
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "keep")

    async def fail(api: Api, call: GuestCall) -> bytes | None:
        await api("tables.delete", {"table": "ledger", "where": {}})
        return await raising(api, call)

    with pytest.raises(PluginFailed):
        await life.run("onInstall", installation(), fail)
    assert [each["installation_id"] for each in await life.retention.listed("acme", None)] == [former.id]
    assert await life.names(await life.install()) == ["a"]


async def test_an_uninstallation_that_fails_changes_nothing_and_its_wish_is_remembered(life: Life) -> None:
    found = await life.install()
    await life.fill(found, "a")
    with pytest.raises(PluginFailed):
        await life.uninstall(found, "keep", raising)
    assert await life.names(found) == ["a"]
    assert await life.retention.listed("acme", None) == []
    await life.uninstall(found, None)  # as a registry asks that does not know how the first attempt ended
    await life.uninstall(found, None)  # and again, when it died before it could write it down
    assert await life.names(await life.install()) == ["a"]


async def test_a_repeated_uninstallation_may_still_ask_for_something_else(life: Life) -> None:
    found = await life.install()
    await life.fill(found, "a")
    await life.uninstall(found, "keep")
    await life.uninstall(found, "drop")
    assert await life.stored() == 0
    assert await life.retention.listed("acme", None) == []


async def test_what_an_installation_took_over_that_never_came_to_be_waits_for_the_next(life: Life) -> None:
    """The worker committed onInstall, and the registry never heard of it: its installation does not exist."""
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "keep")
    unheard = await life.install()
    assert await life.names(unheard) == ["a"]
    life.directory.remove(unheard.id)
    present = await life.install()
    assert (await life.names(present), await life.names(unheard)) == (["a"], [])
    # Once it was activated, the registry knows it: nobody takes anything from it any more.
    await life.retention.confirm(present)
    assert await life.names(await life.install()) == []
    assert await life.names(present) == ["a"]


async def test_an_installation_that_took_over_is_uninstalled_like_any_other(life: Life) -> None:
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "keep")
    await life.uninstall(await life.install(), None)
    assert await life.stored() == 0


async def test_the_sweeper_drops_what_has_expired_and_nothing_else(life: Life) -> None:
    kept, exported, waiting, staying = [await life.install(organization) for organization in ("a", "b", "c", "d")]
    for found in (kept, exported, waiting, staying):
        await life.fill(found, "x")
    await life.uninstall(kept, "keep")
    await life.uninstall(exported, "export")
    await life.uninstall(waiting, "keep")
    assert await life.retention.sweep(life.directory) == 0
    await life.expire(kept, exported)
    assert [await life.retention.listed(organization, None) for organization in ("a", "b")] == [[], []]
    with pytest.raises(NothingRetained):
        await life.exported(exported, "b")
    assert await life.names(await life.install("a")) == []
    assert await life.retention.sweep(life.directory) == 2
    assert await life.stored() == 4
    assert await life.names(staying) == ["x"]
    assert await life.names(await life.install("c")) == ["x"]


async def test_the_sweeper_leaves_what_an_installation_has_that_exists(life: Life) -> None:
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "keep")
    present = await life.install()
    await life.expire(present)
    assert await life.retention.sweep(life.directory) == 0
    assert await life.names(present) == ["a"]
    assert await life.platform.fetchval("SELECT count(*) FROM retained_data") == 0
    # One that the registry still has as uninstalling.
    await life.uninstall(present, "keep")
    life.directory.put(msgspec.structs.replace(present, revision=9, status="uninstalling"))
    await life.expire(present)
    assert await life.retention.sweep(life.directory) == 0
    assert await life.names(present) == ["a"]


async def test_an_export_reads_back_as_what_was_stored(life: Life) -> None:
    found = await life.install(store="s1")
    await life.fill(found, *(f"name-{number:03}" for number in range(120)))
    rows = await life.calls(found, ("tables.find", {"table": "ledger", "sort": ["created_at"], "limit": 1000}))
    await life.calls(found, ("data.set", {"key": "short", "value": 1, "expires_in": 0.001}))
    async with life.platform.acquire() as connection:
        made = await webhooks.register(connection, found.id, "sale.created", "https://api.example.com/")
        await connection.execute("INSERT INTO schedule_clock VALUES ($1, 'nightly', $2, $2)", found.id, AT)
    other = await life.install("globex", store="s1")
    await life.fill(other, "theirs")
    await life.uninstall(found, "export")

    head, *content, end = await life.exported(found)
    expected_head = {
        "type": "archive",
        "format": archive.FORMAT,
        "installationId": found.id,
        "organizationId": "acme",
        "storeId": "s1",
        "pluginId": "loyalty-points",
    }
    assert head.items() >= expected_head.items()
    assert end == {"type": "end", "lines": len(content) + 1}
    kinds = {kind: [line for line in content if line["type"] == kind] for kind in ("table", "row", "value")}
    assert [line["name"] for line in kinds["table"]] == ["ledger"]
    assert kinds["table"][0]["definition"]["columns"].keys() == LEDGER["columns"].keys()  # type: ignore[attr-defined]
    read = [{**line["row"], "at": datetime.fromisoformat(line["row"]["at"])} for line in kinds["row"]]
    assert len(read) == 120
    stored = [{**row, "created_at": row["created_at"]} for row in rows]
    for row, expected in zip(read, stored, strict=True):
        row["created_at"] = datetime.fromisoformat(row["created_at"])
        assert row == expected
        assert str(row["amount"]) == str(expected["amount"])
    assert [(line["key"], line["value"]) for line in kinds["value"]] == [
        (f"key/name-{number:03}", {"name": f"name-{number:03}", "price": Decimal("19.90")}) for number in range(120)
    ]
    (webhook,) = [line for line in content if line["type"] == "webhook"]
    assert (webhook["event"], webhook["url"]) == ("sale.created", "https://api.example.com/")
    (schedule,) = [line for line in content if line["type"] == "schedule"]
    assert (schedule["schedule"], datetime.fromisoformat(schedule["nextAt"])) == ("nightly", AT)
    whole = json.dumps(content, default=str)
    assert made["secret"] not in whole
    assert "whsec" not in whole
    assert "theirs" not in whole
    for table in ("webhook", "schedule_clock"):
        assert await life.platform.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608


@pytest.mark.parametrize(("organization", "store"), [("globex", None), ("acme", "s2"), ("", None)])
async def test_an_export_is_for_its_own_organization_and_store(
    life: Life, organization: str, store: str | None
) -> None:
    found = await life.install(store="s1")
    await life.fill(found, "a")
    await life.uninstall(found, "export")
    with pytest.raises(NothingRetained):
        await life.exported(found, organization, store)
    assert await life.retention.listed(organization, store) == []
    assert len(await life.retention.listed("acme", "s1")) == 1
    assert await life.exported(found, "acme", "s1") == await life.exported(found)


async def test_an_installation_that_lives_is_not_exported(life: Life) -> None:
    found = await life.install()
    await life.retention.ask(found, "export")
    with pytest.raises(NothingRetained):
        await life.exported(found)


async def test_row_level_security_holds_under_what_is_asked_for(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the conditions of the statements taken away, the policies alone."""
    former = await life.install()
    await life.fill(former, "a")
    await life.uninstall(former, "keep")
    opened = repository._TO_ADOPT.replace("organization_id = $1", "$1::text IS NOT NULL")
    assert opened != repository._TO_ADOPT
    monkeypatch.setattr(repository, "_TO_ADOPT", opened)
    monkeypatch.setattr(repository, "_LIST", repository._LIST.replace("organization_id = $1", "$1::text IS NOT NULL"))
    monkeypatch.setattr(repository, "_FIND", repository._FIND.replace("organization_id = $2", "$2::text IS NOT NULL"))
    thief = await life.install("globex")
    assert await life.names(thief) == []
    assert await life.retention.listed("globex", None) == []
    with pytest.raises(NothingRetained):
        await life.exported(former, "globex")
    assert await life.names(await life.install()) == ["a"]


async def test_after_a_take_over_the_hook_is_held_to_its_own_rows_again(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, other = await life.install(), await life.install("globex")
    await life.fill(former, "a")
    await life.fill(other, "theirs")
    await life.uninstall(former, "keep")
    visible: list[int] = []

    async def look(api: Api, _: GuestCall) -> bytes | None:
        visible.append(len(await api("tables.find", {"table": "ledger"})))
        return None

    with monkeypatch.context() as patch:  # the query builder's own scoping is switched off: the policies are left
        patch.setattr(scoping, "installation_rows", lambda *_: "TRUE")
        await life.run("onInstall", installation(), look)
    assert visible == [1]


async def test_a_reader_that_goes_away_leaves_nothing_open(life: Life) -> None:
    found = await life.install()
    await life.fill(found, "a")
    await life.uninstall(found, "export")
    exports = [life.retention.export(found.id, "acme", None) for _ in range(MOST_EXPORTS)]
    for each in exports:
        await anext(each)
    with pytest.raises(ExportsBusy):
        await life.exported(found)
    for each in exports:
        await each.aclose()
    assert await life.exported(found)
    async with aclosing(life.retention.export(found.id, "acme", None)) as parts:
        await anext(parts)
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
    )
    assert await life.platform.fetchval(busy) == 0


async def test_a_scope_is_needed_to_see_what_is_left(life: Life) -> None:
    found = await life.install()
    await life.uninstall(found, "keep")
    assert await life.pool.fetchval("SELECT count(*) FROM retained_data") == 0
    assert await life.platform.fetchval("SELECT count(*) FROM retained_data") == 1
    assert Scope().row() == ("", "", "")
