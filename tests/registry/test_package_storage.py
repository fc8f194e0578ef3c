"""Packages at a location of the operator's choice, instead of in the database."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from services.registry.packages.storage import open_storage
from tests.registry.packages import package
from tests.registry.platform import PUBLISHER, LocalRegistry, Registry, running_registry
from tests.registry.worker import FakeWorker

Databases = Callable[[str], Awaitable[str]]


async def digest_of_published(registry: Registry, plugin_id: str) -> str:
    published = await registry.caller("publisher", PUBLISHER).publish(package(plugin_id))
    assert published.status_code in (200, 201), published.text
    digest: str = published.json()["digest"]
    return digest


async def rows(registry: LocalRegistry) -> int:
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    count: int = await connection.fetchval("SELECT count(*) FROM plugin_package")
    await connection.close()
    return count


async def test_packages_are_files_named_by_their_digest_and_verified_when_read(
    database: Databases, workers_url: str, kafka_brokers: list[str], tmp_path: Path, worker: FakeWorker
) -> None:
    place = tmp_path / "packages"
    dsn = await database("stored")
    arguments = (dsn, workers_url, kafka_brokers[0], tmp_path / "issuer")
    async with running_registry(*arguments) as registry:
        before = await digest_of_published(registry, "stored-before")
    async with running_registry(*arguments, package_storage=f"file://{place}") as registry:
        digest = await digest_of_published(registry, "stored-outside")
        (file,) = [path for path in place.rglob("*") if path.is_file()]
        assert (file.name, file.read_bytes()) == (digest.removeprefix("sha256:"), package("stored-outside"))
        assert await rows(registry) == 1  # the one from before, which is still found there
        for name, found in (("stored-before", before), ("stored-outside", digest)):
            assert (await registry.http.get(f"/internal/packages/{found}")).content == package(name)
            assert (await registry.caller("owner").install(name))["pluginId"] == name

        file.write_bytes(package("stored-outside", code="plugin = 'of a burglar'\n"))
        refused = await registry.http.get(f"/internal/packages/{digest}")
        assert (refused.status_code, refused.json()["code"]) == (409, "package_untrusted")
        refused = await registry.caller("owner").try_install("stored-outside")
        assert (refused.status_code, refused.json()["code"]) == (409, "package_untrusted")

        file.unlink()
        assert (await registry.http.get(f"/internal/packages/{digest}")).status_code == 404
        file.mkdir()
        away = await registry.http.get(f"/internal/packages/{digest}")
        assert (away.status_code, away.json()["code"]) == (503, "package_storage_unavailable")


@pytest.mark.parametrize("location", ["packages", "nothing-of-the-kind://packages", "/var/lib/packages"])
def test_a_location_that_nobody_reaches_stops_the_start(location: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  fsspec's own words
        open_storage(location)
