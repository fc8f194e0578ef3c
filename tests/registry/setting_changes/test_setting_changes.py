"""What plugins change of their own settings: taken over once, checked again, published."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from services.common.setting_changes import SettingChange, encode_change
from services.common.topics import CONFIGURATION
from services.registry.database import open_engine, transactions
from services.registry.setting_changes.consumer import SettingChangeConsumer
from tests.registry.platform import Client, LocalRegistry
from tests.registry.topic import following
from tests.registry.worker import FakeWorker, sets_config
from tests.support.directory import eventually

SECRET = "sk-live-2718281828"
SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "apiKey": {"type": "string", "format": "secret"},
        "rate": {"type": "number", "minimum": 0},
        "label": {"type": "string"},
        "most": {"type": "number"},
    },
}


@pytest.fixture
async def plugin_id(registry: LocalRegistry) -> str:
    return await registry.publish(settingsSchema=SETTINGS)


@dataclass(frozen=True)
class Record:
    """As much of a record of Kafka as is looked at."""

    value: bytes
    partition: int = 0
    offset: int = 0


def change(installation_id: str, key: str, value: Any, change_id: str | None = None) -> bytes:
    return encode_change(
        SettingChange(
            id=change_id or uuid4().hex,
            installation_id=installation_id,
            organization_id="any",
            key=key,
            value=value,
            during="sale.created",
        )
    )


async def send(bootstrap: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(CONFIGURATION.name, value, partition=0)


async def until_config(caller: Client, installation_id: str, **wanted: Any) -> dict[str, Any]:
    async def reached() -> dict[str, Any]:
        found = await caller.read(installation_id)
        return found if all(found["config"].get(name) == value for name, value in wanted.items()) else {}

    return await eventually(reached, within=30)


async def test_a_change_is_taken_over_and_published(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installed = await owner.install(plugin_id, config={"apiKey": SECRET, "rate": 1, "label": "x"})
    await send(registry_bootstrap, change(installed["id"], "rate", 2), change(installed["id"], "rate", 3))
    found = await until_config(owner, installed["id"], rate=3)
    assert found["config"] == {"apiKey": {"set": True}, "rate": 3, "label": "x"}
    assert found["revision"] > installed["revision"]
    async with following(registry_bootstrap) as topic:
        last = await topic.until(lambda record: record.key == installed["id"] and record.revision == found["revision"])
    assert last.installation
    assert last.installation.config["rate"] == 3


async def test_a_redelivered_change_is_not_taken_over_again(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    identity = (await owner.install(plugin_id))["id"]
    first, second = change(identity, "rate", 1), change(identity, "rate", 2)
    await send(registry_bootstrap, first, second, first)
    await until_config(owner, identity, rate=2)
    await owner.put(f"/{identity}/config", {"config": {"rate": 7}})
    before = (await owner.read(identity))["revision"]
    await send(registry_bootstrap, first, second, change(identity, "label", "last"))
    found = await until_config(owner, identity, label="last")
    assert found["config"]["rate"] == 7
    assert found["revision"] > before


async def test_what_the_configuration_does_not_allow_any_more_is_an_error_of_the_plugin(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    identity = (await owner.install(plugin_id, config={"apiKey": SECRET}))["id"]
    await send(
        registry_bootstrap,
        b"rubbish",
        b"",
        change("no-uuid", "rate", 1),
        change(str(uuid4()), "rate", 1),
        change(identity, "rate", -1),
        change(identity, "unknown", 1),
        change(identity, "apiKey", "sk-forged-by-a-record"),
        change(identity, "label", "\0"),
        change(identity, "label", "good"),
    )
    found = await until_config(owner, identity, label="good")
    assert found["config"] == {"apiKey": {"set": True}, "label": "good"}
    assert [(error["code"], error["during"]) for error in found["errors"]] == [("invalid_config", "sale.created")] * 4
    assert SECRET not in str(found)
    assert "sk-forged" not in str(found)


async def test_a_change_during_a_lifecycle_operation_survives_it(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    identity = (await owner.install(plugin_id, config={"rate": 1, "label": "x", "most": 1}))["id"]
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(hook: str, told: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await sets_config({**told.config, "most": 2})(hook, told)

    worker.behaviour = slow
    activating = asyncio.create_task(owner.post(f"/{identity}/activate"))
    await asyncio.wait_for(asked.wait(), 10)
    await send(registry_bootstrap, change(identity, "rate", 5))
    await until_config(owner, identity, rate=5)
    go_on.set()
    assert (await activating).json()["config"] == {"rate": 5, "label": "x", "most": 2}


async def test_several_registries_take_each_change_over_once(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    """Two that hold the same batch at the same moment."""
    identity = (await owner.install(plugin_id))["id"]
    batch: Any = [Record(change(identity, "rate", number)) for number in range(20)]
    async with open_engine(registry.settings.registry_database_url, 4) as engine:
        transaction = transactions(engine)
        consumers = [SettingChangeConsumer("", transaction, lambda: None) for _ in range(3)]
        await asyncio.gather(*(consumer.apply(batch) for consumer in consumers))
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    applied = await connection.fetchval("SELECT count(*) FROM applied_change WHERE installation_id = $1", identity)
    await connection.close()
    found = await owner.read(identity)
    assert (applied, found["config"]["rate"], found["errors"]) == (20, 19, [])
