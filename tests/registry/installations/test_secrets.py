"""Secret settings: never in clear, neither where they are stored and published nor in any answer."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from services.common.directory import Installation
from services.common.secret_settings import SecretKeys, SecretPlace, new_key
from services.common.topics import INSTALLATIONS
from tests.e2e.topics import read_topic
from tests.registry.platform import Client, LocalRegistry, running_registry
from tests.registry.test_publication import relay_held
from tests.registry.topic import following
from tests.registry.worker import FakeWorker, sets_config

SECRET = "sk-live-2718281828"
OF_A_STORE = "sk-store-1618033988"
MASKED = {"set": True}
SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiKey"],
    "maxProperties": 2,
    "properties": {
        "apiKey": {"type": "string", "format": "secret", "minLength": 8, "pattern": "^sk-"},
        "other": {"type": "string", "format": "secret"},
        "region": {"type": "string"},
    },
}


@pytest.fixture
async def plugin_id(registry: LocalRegistry) -> str:
    return await registry.publish(settingsSchema=SETTINGS)


async def raw_database(dsn: str) -> str:
    """Every row of every table, bytes decoded."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [row for (name,) in tables for row in await connection.fetch(f'SELECT * FROM "{name}"')]  # noqa: S608
    finally:
        await connection.close()
    return "\n".join(
        value.decode(errors="replace") if isinstance(value, bytes) else str(value) for row in rows for value in row
    )


async def raw_topic(bootstrap: str) -> bytes:
    return b"\n".join(record.value or b"" for record in await read_topic(bootstrap, INSTALLATIONS.name))


async def stored(dsn: str, installation_id: str) -> Any:
    connection = await asyncpg.connect(dsn)
    config = await connection.fetchval("SELECT config FROM installation WHERE id = $1", installation_id)
    await connection.close()
    return json.loads(config)


def opened(told: Installation, keys: SecretKeys, name: str = "apiKey") -> str:
    return keys.open(told.config[name], SecretPlace(told.organization_id, told.plugin_id, told.id, name))


async def test_neither_the_database_nor_the_topic_holds_the_secret(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    dsn = registry.settings.registry_database_url
    installed = await owner.install(plugin_id, config={"apiKey": SECRET, "region": "eu-seen"})
    async with relay_held(dsn):
        other = "sk-replaced-31415"
        await owner.put(f"/{installed['id']}/config", {"config": {"apiKey": other, "region": "eu-seen"}})
        present = await raw_database(dsn)  # with what waits in the outbox
    async with following(registry_bootstrap) as topic:
        last = await topic.until(
            lambda found: (
                found.key == installed["id"]
                and found.installation is not None
                and opened(found.installation, registry.settings.keys()) == other
            )
        )
    published = await raw_topic(registry_bootstrap)
    assert last.installation
    assert last.installation.config["region"] == "eu-seen"
    assert "eu-seen" in present
    assert b"eu-seen" in published
    for secret in (SECRET, other):
        assert secret not in present
        assert secret.encode() not in published
    assert opened(worker.calls[0][1], registry.settings.keys()) == SECRET  # the worker, which has the key, is told


async def test_no_answer_shows_a_secret(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    installed = await owner.try_install(plugin_id, config={"apiKey": SECRET})
    path = f"/{installed.json()['id']}"
    answers = [
        installed,
        await owner.put(f"{path}/config", {"config": {"apiKey": SECRET, "region": "eu"}}),
        await owner.post(f"{path}/activate"),
        await owner.get(path),
        await owner.get(),
        await owner.get(f"{path}/stats"),
        await owner.also("manager").get(path),
    ]
    assert [answer.status_code for answer in answers] == [201] + [200] * 6
    assert all(SECRET not in answer.text for answer in answers)
    assert answers[3].json()["config"] == {"apiKey": MASKED, "region": "eu"}
    assert answers[4].json()["items"][0]["config"]["apiKey"] == MASKED


async def test_the_mask_keeps_a_secret_and_leaving_it_out_removes_it(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id, config={"apiKey": SECRET, "other": "a"})
    path = f"/{installed['id']}/config"
    kept = await owner.put(path, {"config": {"apiKey": MASKED, "region": "us"}})
    assert kept.json()["config"] == {"apiKey": MASKED, "region": "us"}
    await owner.post(f"/{installed['id']}/activate")
    told = worker.calls[-1][1]
    assert opened(told, registry.settings.keys()) == SECRET
    assert told.config.keys() == {"apiKey", "region"}


@pytest.mark.parametrize(
    "config",
    [
        {"apiKey": MASKED, "other": MASKED},
        {"apiKey": {"sealed": "1.000000000000.AAAA"}},
        {"apiKey": {"set": 1, "more": 1}},
        {"apiKey": {"set": False}},
    ],
)
async def test_only_what_is_stored_is_kept(
    owner: Client, plugin_id: str, worker: FakeWorker, config: dict[str, Any]
) -> None:
    installed = await owner.install(plugin_id, config={"apiKey": SECRET})
    refused = await owner.put(f"/{installed['id']}/config", {"config": config})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_config")
    assert (await owner.try_install(plugin_id, storeId="s1", config={"apiKey": MASKED})).status_code in (409, 422)


async def test_a_stolen_ciphertext_is_no_value(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id, config={"apiKey": SECRET})
    stolen = (await stored(registry.settings.registry_database_url, installed["id"]))["apiKey"]
    thief = registry.caller("owner")
    refused = await thief.try_install(plugin_id, config={"apiKey": stolen})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_config")


@pytest.mark.parametrize(
    "config",
    [
        {"apiKey": "pk-hidden-value"},
        {"apiKey": "sk-hid"},
        {"apiKey": "pk-hidden-value" * 30},
        {"apiKey": "sk-'hidden\"-value", "region": "eu", "other": "x"},
        {"apiKey": "sk-hidden-value", "region": "eu", "other": "another-hidden-value"},
    ],
)
async def test_a_refusal_does_not_repeat_the_secret(
    owner: Client, plugin_id: str, worker: FakeWorker, config: dict[str, Any]
) -> None:
    refused = await owner.try_install(plugin_id, config=config)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_config")
    assert "hid" not in refused.text


async def test_a_lifecycle_hook_neither_sets_nor_removes_a_secret(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    worker.behaviour = sets_config({"region": "us", "apiKey": "sk-forged-forged", "other": "forged"})
    installed = await owner.install(plugin_id, config={"apiKey": SECRET})
    assert installed["config"] == {"apiKey": MASKED, "region": "us"}
    worker.behaviour = sets_config({"region": "eu"})
    activated = await owner.post(f"/{installed['id']}/activate")
    assert activated.json()["config"] == {"apiKey": MASKED, "region": "eu"}
    assert opened(worker.calls[-1][1], registry.settings.keys()) == SECRET


async def test_a_start_seals_what_was_stored_in_clear_and_what_a_former_key_sealed(
    database: Callable[[str], Awaitable[str]], worker: FakeWorker, workers_url: str, fresh_kafka_bootstrap: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    dsn, keys, former = await database("sealing"), tmp_path / "keys", new_key()
    arguments = (dsn, workers_url, fresh_kafka_bootstrap, keys)
    async with running_registry(*arguments, secret_keys=former) as registry:
        plugin = await registry.publish(settingsSchema=SETTINGS)
        owners = [registry.caller("owner", organization) for organization in ("clear", "former", "lost")]
        clear, old, lost = [(await owner.install(plugin, config={"apiKey": SECRET}))["id"] for owner in owners]
        elsewhere = await owners[1].put(f"/{old}/overrides/stores/s1", {"config": {"apiKey": OF_A_STORE}})
        assert elsewhere.status_code == 200
    connection = await asyncpg.connect(dsn)
    change = "UPDATE installation SET config = $2::text::jsonb WHERE id = $1"
    await connection.execute(change, clear, f'{{"apiKey": "{SECRET}"}}')
    await connection.execute(change, lost, '{"apiKey": {"sealed": "1.000000000000.AAAA"}}')
    await connection.close()

    present = new_key()
    with capture_logs() as logs:
        async with running_registry(*arguments, secret_keys=f"{present},{former}"):
            pass
    assert [each["installation"] for each in logs if each["event"] == "a secret cannot be read"] == [lost]
    assert SECRET not in await raw_database(dsn)
    assert OF_A_STORE not in await raw_database(dsn)
    only = SecretKeys.parse(present)
    async with following(fresh_kafka_bootstrap) as topic:
        newest = {record.key: record.installation for record in await topic.to_end()}
    for found in (newest[clear], newest[old]):
        assert found
        assert opened(found, only) == SECRET
    former_key = newest[old]
    assert former_key
    assert opened(former_key.at("s1"), only) == OF_A_STORE
    async with running_registry(*arguments, secret_keys=present):  # a start that finds nothing to do publishes nothing
        pass
    async with following(fresh_kafka_bootstrap) as topic:
        again = {record.key: record.installation for record in await topic.to_end()}
    assert {key: found and found.revision for key, found in again.items()} == {
        key: found and found.revision for key, found in newest.items()
    }
