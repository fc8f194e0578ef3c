"""The audit log: what is told of whom, and that nobody can make it tell anything else."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.registry.packages import SETTINGS
from tests.registry.platform import PUBLISHER, Client, LocalRegistry
from tests.registry.worker import FAILS, FakeWorker

WITH_SECRET: dict[str, Any] = {
    "type": "object",
    "properties": {**SETTINGS["properties"], "api_key": {"type": "string", "format": "secret"}},  # type: ignore[dict-item]
}


@pytest.fixture
async def intruder(registry: LocalRegistry) -> AsyncIterator[asyncpg.Connection]:
    """The registry's database, as somebody who has broken into it."""
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    yield connection
    await connection.close()


async def entries(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    response = await client.get("/audit", limit=200, **query)
    assert response.status_code == 200, response.text
    return list(reversed(response.json()["items"]))


def told(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["action"], entry["outcome"]) for entry in found]


async def verified(client: Client) -> dict[str, Any]:
    response = await client.get("/audit/verify")
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


async def test_the_life_of_an_installation_is_told(worker: FakeWorker, registry: LocalRegistry, owner: Client) -> None:
    plugin_id = await registry.publish(settingsSchema=WITH_SECRET)
    found = await owner.install(plugin_id, config={"api_key": "sesame", "rate": 2})
    path = f"/{found['id']}"
    assert (await owner.post(f"{path}/activate")).status_code == 200
    assert (await owner.put(f"{path}/config", {"config": {"api_key": "other", "rate": 3}})).status_code == 200
    assert (await owner.post(f"{path}/deactivate")).status_code == 200
    assert (await owner.delete(path, data="keep")).status_code == 204
    log = await entries(owner)
    assert told(log) == [
        ("installation.install", "begun"),
        ("installation.install", "done"),
        ("installation.activate", "begun"),
        ("installation.activate", "done"),
        ("installation.configure", "done"),
        ("installation.deactivate", "begun"),
        ("installation.deactivate", "done"),
        ("installation.uninstall", "begun"),
        ("installation.uninstall", "done"),
    ]
    assert [entry["sequence"] for entry in log] == list(range(1, 10))
    assert [entry["at"] for entry in log] == sorted(entry["at"] for entry in log)
    assert log[0]["after"]["config"] == {"api_key": {"set": True}, "rate": 2}
    assert log[3]["before"] == {"status": "inactive"}
    assert log[3]["after"] == {"status": "active"}
    configured = log[4]
    assert (configured["before"]["config"]["rate"], configured["after"]["config"]["rate"]) == (2, 3)
    assert configured["about"]["secretsChanged"] == ["api_key"]
    assert log[7]["about"] == {
        "pluginId": plugin_id, "installationId": found["id"], "storeId": None, "storedData": "keep"
    }  # fmt: skip
    assert log[8]["after"] == {}
    assert "sesame" not in json.dumps(log)
    assert (await verified(owner))["valid"]


async def test_updates_and_what_places_have_otherwise_are_told(
    worker: FakeWorker, registry: LocalRegistry, owner: Client
) -> None:
    personal = {"name": "customer:personal-data", "purpose": "to write to them"}
    wishes = [{"name": "customer:read", "purpose": "to count"}, personal]
    plugin_id = await registry.publish(permissions=wishes)
    found = await owner.install(plugin_id, version="1.0.0", grants=["customer:read"])
    await registry.publish(plugin_id, "1.1.0", permissions=wishes)
    path = f"/{found['id']}"
    since = len(await entries(owner))
    assert (await owner.put("/policies/updates", {"policy": "patch"})).status_code == 200
    assert (await owner.post(f"{path}/update", {})).status_code == 200
    assert (await owner.post(f"{path}/rollback")).status_code == 200
    assert (await owner.put("/regions/north", {"name": "North", "stores": ["n1"]})).status_code == 200
    override = {"config": {"rate": 5}, "grants": {"customer:personal-data": True}}
    assert (await owner.put(f"{path}/overrides/regions/north", override)).status_code == 200
    assert (await owner.delete(f"{path}/overrides/regions/north")).status_code == 204
    log = (await entries(owner))[since:]
    assert told(log) == [
        ("update-policy.set", "done"),
        ("installation.update", "begun"),
        ("installation.update", "done"),
        ("installation.roll-back", "done"),
        ("region.set", "done"),
        ("override.set", "done"),
        ("personal-data.given", "done"),
        ("override.set", "done"),
        ("personal-data.taken", "done"),
    ]
    assert (log[2]["before"]["version"], log[2]["after"]["version"]) == ("1.0.0", "1.1.0")
    assert log[5]["about"]["place"] == log[6]["about"]["place"] == "region:north"
    assert (log[5]["after"]["config"], log[7]["after"]) == ({"rate": 5}, {})
    assert (await verified(owner))["valid"]


async def test_what_becomes_of_a_version_is_told_to_its_publisher_and_to_who_decided(registry: LocalRegistry) -> None:
    plugin_id = await registry.publish()
    publisher = registry.caller("publisher", PUBLISHER)
    reviewer = registry.caller("reviewer")
    version = f"/marketplace/{plugin_id}/versions/1.0.0"
    assert (await publisher.put(f"{version}/yank", {"reason": "counts twice"})).status_code == 200
    assert (await reviewer.put(f"{version}/revocation", {"reason": "steals"})).status_code == 200
    log = await entries(registry.caller("owner", PUBLISHER), pluginId=plugin_id)
    assert told(log) == [("plugin.publish", "done"), ("version.yank", "done"), ("version.revoke", "done")]
    assert log[-1]["by"]["role"] == "reviewer"
    (decided,) = await entries(registry.caller("owner", reviewer.organization), pluginId=plugin_id)
    assert (decided["action"], decided["after"]["reason"]) == ("version.revoke", "steals")


async def test_who_and_from_where_is_told(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, plugin_id: str
) -> None:
    owner.headers["X-Outlet-Client-Address"] = "203.0.113.9"
    owner.headers["User-Agent"] = "till/1 \x7f" + "x" * 600
    await owner.install(plugin_id)
    entry = (await entries(owner))[0]
    assert entry["by"] == {"subject": f"owner@{owner.organization}", "role": "owner", "serviceAccount": None}
    assert entry["origin"]["address"] == "203.0.113.9"
    assert entry["origin"]["userAgent"].startswith("till/1 \N{REPLACEMENT CHARACTER}xxx")
    assert len(entry["origin"]["userAgent"]) == 512


async def test_a_publication_is_told_once(registry: LocalRegistry) -> None:
    plugin_id = await registry.publish()
    publisher = registry.caller("owner", PUBLISHER)
    (entry,) = await entries(publisher, pluginId=plugin_id)
    assert (entry["action"], entry["by"]["role"]) == ("plugin.publish", "publisher")
    assert entry["after"]["version"] == "1.0.0"


async def test_every_grant_of_personal_data_given_and_taken_is_told(
    worker: FakeWorker, registry: LocalRegistry, owner: Client
) -> None:
    personal = {"name": "customer:personal-data", "purpose": "to write to them"}
    plugin_id = await registry.publish(permissions=[{"name": "customer:read", "purpose": "to count"}, personal])
    found = await owner.install(plugin_id)
    assert (await owner.delete(f"/{found['id']}")).status_code == 204
    given, taken = [e for e in await entries(owner) if e["action"].startswith("personal-data.")]
    assert [given["action"], taken["action"]] == ["personal-data.given", "personal-data.taken"]
    assert given["about"]["grant"] == taken["about"]["grant"] == "customer:personal-data"
    assert given["about"]["installationId"] == found["id"]


async def test_a_failed_action_is_not_told_as_done(worker: FakeWorker, owner: Client, plugin_id: str) -> None:
    worker.behaviour = FAILS
    assert (await owner.try_install(plugin_id)).status_code == 502
    assert told(await entries(owner)) == [("installation.install", "begun"), ("installation.install", "failed")]


async def test_what_no_worker_was_reached_for_is_told_as_undone(owner: Client, plugin_id: str) -> None:
    assert (await owner.try_install(plugin_id)).status_code == 503
    assert told(await entries(owner)) == [("installation.install", "begun"), ("installation.install", "undone")]


async def test_a_refused_action_leaves_no_entry(worker: FakeWorker, owner: Client, plugin_id: str) -> None:
    found = await owner.install(plugin_id)
    before = await entries(owner)
    assert (await owner.try_install(plugin_id)).status_code == 409
    assert (await owner.put(f"/{found['id']}/config", {"config": {"rate": "much"}})).status_code == 422
    assert (await owner.also("manager").post(f"/{found['id']}/activate")).status_code == 403
    assert (await owner.delete("/00000000-0000-0000-0000-000000000000")).status_code == 404
    assert await entries(owner) == before


async def test_concurrent_actions_make_one_chain(worker: FakeWorker, registry: LocalRegistry, owner: Client) -> None:
    plugins = [await registry.publish() for _ in range(6)]
    installed = await asyncio.gather(*(owner.install(plugin_id) for plugin_id in plugins))
    await asyncio.gather(*(owner.put(f"/{each['id']}/config", {"config": {"rate": 4}}) for each in installed))
    log = await entries(owner)
    assert [entry["sequence"] for entry in log] == list(range(1, 19))
    assert await verified(owner) == {"valid": True, "entries": 18, "head": log[-1]["hash"], "broken": None}


async def test_an_exported_chain_can_be_verified_by_anybody(worker: FakeWorker, owner: Client, plugin_id: str) -> None:
    await owner.install(plugin_id)
    response = await owner.get("/audit/export")
    assert response.headers["Content-Type"] == "application/jsonl"
    *lines, end = response.text.splitlines()
    previous = bytes(32)
    for line in lines:
        document = line.removeprefix('{"entry":').rpartition(',"previousHash":')[0]
        read = json.loads(line)
        assert bytes.fromhex(read["previousHash"]) == previous
        previous = hashlib.sha256(previous + document.encode()).digest()
        assert read["hash"] == previous.hex()
    assert json.loads(end) == {"end": True, "entries": len(lines), "hash": previous.hex()}


async def test_the_log_is_filtered_and_paged(worker: FakeWorker, registry: LocalRegistry, owner: Client) -> None:
    one, other = await registry.publish(), await registry.publish()
    first = await owner.install(one)
    await owner.also("admin").install(other)
    assert len(await entries(owner, pluginId=one)) == 2
    assert len(await entries(owner, installationId=first["id"])) == 2
    assert len(await entries(owner, action="installation.install")) == 4
    assert len(await entries(owner, subject=f"admin@{owner.organization}")) == 2
    moment = (await entries(owner))[2]["at"]
    assert [entry["sequence"] for entry in await entries(owner, since=moment)] == [3, 4]
    assert [entry["sequence"] for entry in await entries(owner, until=moment)] == [1, 2]
    page = (await owner.get("/audit", limit=3)).json()
    rest = (await owner.get("/audit", limit=3, cursor=page["nextCursor"])).json()
    assert [entry["sequence"] for entry in page["items"] + rest["items"]] == [4, 3, 2, 1]
    assert rest["nextCursor"] is None
    for cursor in ("rubbish", "WyIxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyIl0"):
        assert (await owner.get("/audit", cursor=cursor)).json()["code"] == "invalid_cursor"


async def test_no_organization_sees_the_log_of_another(worker: FakeWorker, owner: Client, plugin_id: str) -> None:
    await owner.install(plugin_id)
    stranger = owner.registry.caller()
    assert await entries(stranger) == []
    assert await verified(stranger) == {"valid": True, "entries": 0, "head": "00" * 32, "broken": None}


@pytest.mark.parametrize("path", ["/audit", "/audit/export", "/audit/verify"])
async def test_a_token_of_one_store_does_not_read_the_log(owner: Client, path: str) -> None:
    refused = await owner.also(store="store-1").get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_store")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET document = document WHERE organization_id = $1",
        "DELETE FROM audit_entry WHERE organization_id = $1",
        "UPDATE audit_head SET sequence = 0 WHERE organization_id = $1",
        "UPDATE audit_head SET hash = '' WHERE organization_id = $1",
        "DELETE FROM audit_head WHERE organization_id = $1",
    ],
)
async def test_the_database_refuses_to_change_entries(
    worker: FakeWorker, owner: Client, plugin_id: str, intruder: asyncpg.Connection, statement: str
) -> None:
    await owner.install(plugin_id)
    with pytest.raises(asyncpg.RestrictViolationError):
        await intruder.execute(statement, owner.organization)
    assert (await verified(owner))["valid"]


@pytest.mark.parametrize("table", ["audit_entry", "audit_head"])
async def test_the_database_refuses_to_empty_the_log(
    registry: LocalRegistry, intruder: asyncpg.Connection, table: str
) -> None:
    with pytest.raises(asyncpg.RestrictViolationError):
        await intruder.execute(f"TRUNCATE {table}")


SWAP = """
UPDATE audit_entry SET sequence = CASE sequence WHEN -2 THEN 3 ELSE 2 END
WHERE organization_id = $1 AND sequence IN (-2, -3)
"""
TAMPERINGS: dict[str, tuple[list[str], int]] = {
    "the text of an entry": (
        [
            "UPDATE audit_entry SET document = replace(document, 'owner@', 'admin@') "
            "WHERE organization_id = $1 AND sequence = 2"
        ],
        2,
    ),
    "a hash": (["UPDATE audit_entry SET hash = sha256('x') WHERE organization_id = $1 AND sequence = 2"], 2),
    "removed": (["DELETE FROM audit_entry WHERE organization_id = $1 AND sequence = 2"], 2),
    "the first removed": (["DELETE FROM audit_entry WHERE organization_id = $1 AND sequence = 1"], 1),
    "the last removed": (["DELETE FROM audit_entry WHERE organization_id = $1 AND sequence = 4"], 4),
    "all removed": (["DELETE FROM audit_entry WHERE organization_id = $1"], 1),
    "removed, the rest moved up": (
        [
            "DELETE FROM audit_entry WHERE organization_id = $1 AND sequence = 2",
            "UPDATE audit_entry SET sequence = sequence - 1 WHERE organization_id = $1 AND sequence = 3",
            "UPDATE audit_entry SET sequence = sequence - 1 WHERE organization_id = $1 AND sequence = 4",
        ],
        2,
    ),
    "reordered": (
        [
            "UPDATE audit_entry SET sequence = -sequence WHERE organization_id = $1 AND sequence IN (2, 3)",
            SWAP,
        ],
        2,
    ),
    "added past the end": (
        [
            "INSERT INTO audit_entry (organization_id, sequence, document, hash) "
            "SELECT organization_id, 5, document, hash FROM audit_entry WHERE organization_id = $1 AND sequence = 4"
        ],
        5,
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_what_was_tampered_with_is_found(
    worker: FakeWorker, owner: Client, plugin_id: str, intruder: asyncpg.Connection, name: str
) -> None:
    found = await owner.install(plugin_id)
    assert (await owner.post(f"/{found['id']}/activate")).status_code == 200
    assert (await verified(owner))["entries"] == 4
    statements, broken = TAMPERINGS[name]
    async with intruder.transaction():  # as the tables' owner can
        await intruder.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        for statement in statements:
            await intruder.execute(statement, owner.organization)
        await intruder.execute("ALTER TABLE audit_entry ENABLE TRIGGER USER")
    answer = await verified(owner)
    assert (answer["valid"], answer["broken"]["sequence"]) == (False, broken)
    assert answer["broken"]["reason"]
