"""The registry on Apache Kafka, PostgreSQL and Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.common.reports import encode_summary
from services.common.topics import CATALOGUE, INSTALLATIONS
from tests.registry.platform import Registry, running_registry
from tests.registry.summaries import counted, produce, summary
from tests.registry.topic import Announcements, following
from tests.registry.worker import running_worker
from tests.support.real import RealParts


@asynccontextmanager
async def administering(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def followed_registry(parts: RealParts, keys: Path) -> AsyncIterator[tuple[Registry, Announcements]]:
    """A registry that creates the topics, and a follower of what it announces."""
    dsn, redis_url, bootstrap = parts.registry_database_url, parts.redis_url, parts.kafka_bootstrap
    async with (
        running_registry(dsn, redis_url, bootstrap, keys, kafka_create_topics=True) as registry,
        following(bootstrap) as topic,
    ):
        yield registry, topic


@pytest.mark.timeout(180)
async def test_an_installation_lives_and_is_announced_on_real_parts(real_parts: RealParts, tmp_path: Path) -> None:
    bootstrap, keys = real_parts.kafka_bootstrap, tmp_path / "keys"
    async with running_worker(real_parts.redis_url), followed_registry(real_parts, keys) as (registry, topic):
        owner = registry.caller("owner")
        installed = await owner.install(await registry.publish(), config={"rate": 2})
        await owner.post(f"/{installed['id']}/activate")
        await topic.until(lambda record: record.key == installed["id"] and record.status == "active")
        await produce(bootstrap, encode_summary(summary(installed["id"], 1, hook_runs=3)))
        assert (await counted(owner, installed["id"], 3))["hookRuns"] == 3
        await owner.post(f"/{installed['id']}/deactivate")
        assert (await owner.delete(f"/{installed['id']}")).status_code == 204
        await topic.until(lambda record: record.key == installed["id"] and record.installation is None)
    # The topics exist from the first start on; a second start finds everything as it is.
    async with followed_registry(real_parts, keys), administering(bootstrap) as admin:
        assert {topic.name for topic in CATALOGUE} <= set(await admin.list_topics())
        (described,) = await admin.describe_topics([INSTALLATIONS.name])
        assert len(described["partitions"]) == 1
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, INSTALLATIONS.name)])
        settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        assert settings["cleanup.policy"] == "compact"
