"""A registry that mirrors another one: it takes nothing on the other's word but that something is withdrawn."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc.jwk import OKPKey

from outlet.signing import new_key, public_part, sign_package
from services.registry.mirror.sync import Mirror
from services.registry.mirror.upstream import Upstream
from services.registry.packages.storage import DatabasePackages
from tests.registry.packages import package
from tests.registry.platform import Client, LocalRegistry, running_registry
from tests.registry.worker import FakeWorker

FORGED = "plugin = 'of a burglar'\n"


@pytest.fixture(scope="module")
async def copy(
    database: Callable[[str], Awaitable[str]],
    workers_url: str,
    kafka_bootstrap: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[LocalRegistry]:
    """The registry that mirrors."""
    directory = tmp_path_factory.mktemp("copy") / "keys"
    async with running_registry(await database("copy"), workers_url, kafka_bootstrap, directory) as running:
        yield running


class Between(httpx.AsyncBaseTransport):
    """The way to the other registry, on which somebody may change what is said."""

    def __init__(self, upstream: LocalRegistry) -> None:
        self._there = httpx.ASGITransport(upstream.app)
        self.change: Callable[[str, bytes], bytes] = lambda path, content: content

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._there.handle_async_request(request)
        return httpx.Response(answer.status_code, content=self.change(request.url.path, await answer.aread()))


class World:
    """Two registries, and a publisher of the other one whose key is pinned here."""

    def __init__(self, upstream: LocalRegistry, copy: LocalRegistry) -> None:
        self.upstream, self.copy = upstream, copy
        self.publisher = upstream.caller("publisher")
        self.reviewer = upstream.caller("reviewer")
        self.owner = copy.caller("owner")
        self.key: OKPKey = new_key()
        self.between = Between(upstream)

    async def publish(self, plugin_id: str, version: str = "1.0.0", *, key: OKPKey | None = None) -> None:
        key = await self.publisher.register(key or self.key)
        data = package(plugin_id, version)
        assert (await self.publisher.publish_as(data, sign_package(data, key))).status_code == 201

    async def synchronize(self) -> None:
        headers = self.upstream.caller("mirror")._headers
        async with httpx.AsyncClient(transport=self.between, base_url="http://upstream", headers=headers) as client:
            service: Any = self.copy.app.state.withdrawals
            pinned = frozenset({public_part(self.key).id})
            mirror = Mirror(service._transaction, DatabasePackages(), Upstream(client), pinned, service._announced)
            await mirror.synchronize()

    async def offered(self, plugin_id: str, caller: Client | None = None) -> list[str]:
        items = (await (caller or self.owner).get("/marketplace", search=plugin_id)).json()["items"]
        return [version for item in items for version in item["versions"]]


@pytest.fixture
def world(registry: LocalRegistry, copy: LocalRegistry) -> World:
    return World(registry, copy)


@pytest.fixture
def plugin_id() -> str:
    return f"mirrored-{uuid4().hex[:8]}"


async def test_what_is_offered_there_is_offered_and_installed_here(
    world: World, plugin_id: str, worker: FakeWorker
) -> None:
    await world.publish(plugin_id)
    await world.publish(plugin_id, "1.1.0")
    await world.synchronize()
    await world.synchronize()
    (entry,) = (await world.owner.get("/marketplace", search=plugin_id)).json()["items"]
    assert (entry["versions"], entry["keyId"]) == (["1.1.0", "1.0.0"], public_part(world.key).id)
    installed = await world.owner.install(plugin_id)
    assert (await world.owner.post(f"/{installed['id']}/activate")).json()["status"] == "active"


async def test_what_a_key_signed_that_is_not_pinned_does_not_come(world: World, plugin_id: str) -> None:
    await world.publish(plugin_id, key=new_key())
    await world.synchronize()
    assert await world.offered(plugin_id) == []


@pytest.mark.parametrize("attack", ["package", "digest", "version", "key"])
async def test_what_was_changed_on_the_way_does_not_come(world: World, plugin_id: str, attack: str) -> None:
    await world.publish(plugin_id)
    thief = public_part(new_key())

    def change(path: str, content: bytes) -> bytes:
        if path.endswith("/package"):
            return package(plugin_id, code=FORGED) if attack == "package" else content
        if plugin_id.encode() not in content:
            return content
        if attack == "version":
            return content.replace(b'"version":"1.0.0"', b'"version":"9.0.0"')
        if attack == "digest":
            return content.replace(b'"digest":"sha256:', b'"digest":"sha256:00')
        return content.replace(public_part(world.key).x.encode(), thief.x.encode()) if attack == "key" else content

    world.between.change = change
    if attack == "digest":
        with pytest.raises(OSError, match="cannot be read"):
            await world.synchronize()
    else:
        await world.synchronize()
    assert await world.offered(plugin_id) == []
    world.between.change = lambda path, content: content
    await world.synchronize()
    assert await world.offered(plugin_id) == ["1.0.0"]


async def test_yanks_and_revocations_are_kept_in_step(world: World, plugin_id: str, worker: FakeWorker) -> None:
    await world.publish(plugin_id)
    await world.publish(plugin_id, "1.1.0")
    await world.synchronize()
    installed = await world.owner.install(plugin_id, version="1.0.0")
    versions = f"/marketplace/{plugin_id}/versions"
    await world.publisher.put(f"{versions}/1.1.0/yank", {"reason": "counts twice"})
    await world.reviewer.put(f"{versions}/1.0.0/revocation", {"reason": "steals"})
    await world.synchronize()
    assert await world.offered(plugin_id) == []
    assert (await world.owner.read(installed["id"]))["revoked"] == "steals"
    await world.publisher.delete(f"{versions}/1.1.0/yank")
    await world.reviewer.delete(f"{versions}/1.0.0/revocation")
    await world.synchronize()
    assert await world.offered(plugin_id) == ["1.1.0", "1.0.0"]
    assert (await world.owner.read(installed["id"]))["revoked"] is None


async def test_what_is_revoked_here_stays_so_whatever_upstream_says(world: World, plugin_id: str) -> None:
    await world.publish(plugin_id)
    await world.synchronize()
    reviewer = world.copy.caller("reviewer")
    await reviewer.put(f"/marketplace/{plugin_id}/versions/1.0.0/revocation", {"reason": "not for us"})
    await world.synchronize()
    assert await world.offered(plugin_id) == []


async def test_what_upstream_tells_no_more_is_offered_no_more(world: World, plugin_id: str) -> None:
    await world.publish(plugin_id)
    await world.synchronize()
    refusal = {"decision": "refuse", "comment": "a second look"}
    await world.reviewer.put(f"/marketplace/{plugin_id}/versions/1.0.0/submission/decision", refusal)
    await world.synchronize()
    assert await world.offered(plugin_id) == []


async def test_an_upstream_that_is_away_changes_nothing(world: World, plugin_id: str) -> None:
    await world.publish(plugin_id)
    await world.synchronize()
    world.between.change = lambda path, content: b"<html>maintenance</html>"
    with pytest.raises(OSError, match="cannot be read"):
        await world.synchronize()
    assert await world.offered(plugin_id) == ["1.0.0"]


async def test_a_plugin_of_ones_own_is_not_replaced_and_a_mirrored_one_not_taken_over(
    world: World, plugin_id: str
) -> None:
    own = world.copy.caller("publisher")
    assert (await own.publish(package(plugin_id, "0.1.0"))).status_code == 201
    await world.publish(plugin_id)
    mirrored = f"{plugin_id}-too"
    await world.publish(mirrored)
    await world.synchronize()
    assert await world.offered(plugin_id, own) == ["0.1.0", *await world.offered(mirrored, own)]
    namesake = world.copy.caller("publisher", world.publisher.organization)
    taken = await namesake.publish(package(mirrored, "2.0.0"))
    assert (taken.status_code, taken.json()["code"]) == (403, "plugin_of_another_publisher")
    yanked = await namesake.put(f"/marketplace/{mirrored}/versions/1.0.0/yank", {"reason": "mine"})
    assert yanked.status_code == 403


async def test_only_mirrors_read_the_feed_and_private_versions_are_not_in_it(world: World, plugin_id: str) -> None:
    data = package(plugin_id)
    signature = await world.publisher._signature(data)
    assert (await world.publisher.publish_as(data, signature, level="private")).status_code == 201
    reader = world.upstream.caller("mirror")
    page = (await reader.get("/marketplace/mirror", limit=200)).json()
    assert plugin_id not in {item["pluginId"] for item in page["items"]}
    assert (await reader.get(f"/marketplace/{plugin_id}/versions/1.0.0/package")).status_code == 404
    for role in ("owner", "publisher", "reviewer", "cashier"):
        assert (await world.upstream.caller(role).get("/marketplace/mirror")).status_code == 403
