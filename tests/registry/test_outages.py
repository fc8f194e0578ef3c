"""The parts the registry stands on go away: what it answers meanwhile."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from outlet.local.network import free_port
from outlet.local.postgres import Postgres
from tests.registry.platform import running_registry
from tests.registry.worker import FakeWorker


async def test_without_redis_nothing_is_installed_and_everything_can_be_read(
    database: Callable[[str], Awaitable[str]],
    workers_url: str,
    worker: FakeWorker,
    kafka_brokers: list[str],
    tmp_path: Path,
) -> None:
    dsn, bootstrap = await database("no_redis"), kafka_brokers[0]
    async with running_registry(dsn, workers_url, bootstrap, tmp_path / "keys") as registry:
        owner = registry.caller("owner")
        installed = await owner.install(await registry.publish())
    away = f"redis://127.0.0.1:{free_port()}/0"
    async with running_registry(dsn, away, bootstrap, tmp_path / "keys") as registry:
        owner = registry.caller("owner", owner.organization)
        refused = await owner.try_install(await registry.publish())
        assert (refused.status_code, refused.json()["code"]) == (503, "workers_unknown")
        (kept,) = (await owner.get()).json()["items"]
        assert kept["id"] == installed["id"]
        assert (await owner.read(installed["id"]))["rollout"] is None


async def test_without_its_database_the_registry_is_not_ready_and_says_so(
    workers_url: str, tmp_path: Path, kafka_brokers: list[str]
) -> None:
    server = Postgres(tmp_path / "postgres", durable=False)
    await server.start()
    try:
        await server.create_database("registry")
        async with running_registry(
            server.dsn("registry"), workers_url, kafka_brokers[0], tmp_path / "keys"
        ) as registry:
            owner = registry.caller("owner")
            assert (await owner.get()).status_code == 200
            await server.stop()
            refused = await owner.get()
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            ready = await registry.http.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (503, False)
            assert (await registry.http.get("/health/live")).status_code == 200
    finally:
        await server.stop()
