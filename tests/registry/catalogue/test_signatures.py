"""What is published is signed by a registered key of its publisher, and verified again before it is run."""

import base64
import json
from uuid import uuid4

import asyncpg
import pytest

from outlet import signing
from outlet.package import open_package
from outlet.signing import Statement, new_key, public_part, sign, sign_package
from tests.registry.packages import package
from tests.registry.platform import Client, LocalRegistry, Registry
from tests.registry.topic import following
from tests.registry.worker import FakeWorker


@pytest.fixture
def publisher(registry: Registry) -> Client:
    return registry.caller("publisher")


def new_id() -> str:
    return f"signed-{uuid4().hex[:8]}"


async def code_of(publisher: Client, data: bytes, signature: str | None) -> tuple[int, str]:
    answer = await publisher.publish_as(data, signature)
    return answer.status_code, answer.json().get("code", "")


async def test_a_signed_package_is_published_with_the_id_of_its_key(publisher: Client, owner: Client) -> None:
    key, plugin_id = await publisher.register(), new_id()
    data = package(plugin_id)
    published = await publisher.publish_as(data, sign_package(data, key))
    assert (published.status_code, published.json()["keyId"]) == (201, public_part(key).id)
    (entry,) = (await owner.get("/marketplace", search=plugin_id)).json()["items"]
    assert entry["keyId"] == public_part(key).id


async def test_an_unsigned_package_is_refused_with_what_to_do(publisher: Client) -> None:
    refused = await publisher.publish_as(package(new_id()), None)
    assert (refused.status_code, refused.json()["code"]) == (422, "signature_missing")
    assert "outlet keys register" in refused.json()["remedy"]


async def test_tampered_bytes_are_refused(publisher: Client) -> None:
    key, plugin_id = await publisher.register(), new_id()
    signature = sign_package(package(plugin_id), key)
    tampered = package(plugin_id, code="plugin = 'another'\n")
    assert await code_of(publisher, tampered, signature) == (422, "signature_invalid")


async def test_the_signature_of_another_version_is_refused(publisher: Client) -> None:
    key, plugin_id = await publisher.register(), new_id()
    old = sign_package(package(plugin_id, "1.0.0"), key)
    assert await code_of(publisher, package(plugin_id, "1.1.0"), old) == (422, "signature_invalid")
    manifest = open_package(package(plugin_id, "1.1.0"))
    claimed = sign(Statement(plugin_id=plugin_id, version="1.0.0", digest=manifest.digest), key)
    assert await code_of(publisher, manifest.data, claimed) == (422, "signature_invalid")


async def test_forged_signatures_are_refused(publisher: Client) -> None:
    key = await publisher.register()
    data = package(new_id())
    head, body, signature = sign_package(data, key).split(".")
    none = base64.urlsafe_b64encode(
        json.dumps({"alg": "none", "kid": public_part(key).id, "typ": signing.TYPE}).encode()
    ).decode()
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for forged in (f"{none.rstrip('=')}.{body}.", f"{head}.{body}.{flipped}", f"{head}.{body}.", "rubbish"):
        assert await code_of(publisher, data, forged) == (422, "signature_invalid")


async def test_another_publishers_key_signs_nothing_here(registry: Registry, publisher: Client) -> None:
    theirs = await registry.caller("publisher").register()
    data = package(new_id())
    assert await code_of(publisher, data, sign_package(data, theirs)) == (422, "publisher_key_unknown")


async def test_a_revoked_key_signs_nothing_new_and_what_it_signed_goes_on(
    publisher: Client, owner: Client, worker: FakeWorker
) -> None:
    key, plugin_id = await publisher.register(), new_id()
    data = package(plugin_id)
    assert (await publisher.publish_as(data, sign_package(data, key))).status_code == 201
    revoked = await publisher.delete(f"/publisher-keys/{public_part(key).id}")
    assert revoked.json()["revokedAt"] is not None
    later = package(plugin_id, "1.0.1")
    assert await code_of(publisher, later, sign_package(later, key)) == (422, "publisher_key_revoked")
    again = await publisher.post("/publisher-keys", {"name": "back", "publicKey": public_part(key).document()})
    assert (again.status_code, again.json()["code"]) == (422, "publisher_key_revoked")
    assert (await owner.install(plugin_id))["version"] == "1.0.0"


async def test_keys_belong_to_an_organization_and_only_its_publishers_change_them(
    registry: Registry, publisher: Client
) -> None:
    key = public_part(await publisher.register())
    (listed,) = (await publisher.get("/publisher-keys")).json()["items"]
    assert (listed["id"], listed["publicKey"]) == (key.id, key.document())
    stranger = registry.caller("publisher")
    assert (await stranger.get("/publisher-keys")).json() == {"items": []}
    assert (await stranger.delete(f"/publisher-keys/{key.id}")).status_code == 404
    for role in ("owner", "admin", "manager", "cashier"):
        other = publisher.also(role)
        assert (await other.get("/publisher-keys")).status_code == 403
        assert (await other.delete(f"/publisher-keys/{key.id}")).status_code == 403


async def test_a_private_key_is_not_taken(publisher: Client) -> None:
    refused = await publisher.post("/publisher-keys", {"name": "x", "publicKey": new_key().as_dict(private=True)})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_key")


async def test_a_package_swapped_in_the_store_is_neither_installed_nor_activated(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id)
    digest = open_package(package(plugin_id)).digest
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    swapped = package(plugin_id, code="plugin = 'of a burglar'\n")
    await connection.execute("UPDATE plugin_package SET data = $1 WHERE digest = $2", swapped, digest)
    await connection.close()
    refused = await owner.post(f"/{installed['id']}/activate")
    assert (refused.status_code, refused.json()["code"]) == (409, "package_untrusted")
    elsewhere = await registry.caller("owner").try_install(plugin_id)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "package_untrusted")


async def test_a_version_from_before_signatures_runs_once_its_publisher_has_signed_it(
    registry: LocalRegistry, publisher: Client, owner: Client, worker: FakeWorker
) -> None:
    plugin_id = new_id()
    data = package(plugin_id)
    assert (await publisher.publish(data)).status_code == 201
    installed = await owner.install(plugin_id)
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    await connection.execute(
        "UPDATE plugin_version SET signature = NULL, public_key = NULL WHERE plugin_id = $1", plugin_id
    )
    await connection.close()
    refused = await owner.post(f"/{installed['id']}/activate")
    assert (refused.status_code, refused.json()["code"]) == (409, "package_untrusted")
    signed = await publisher.publish(data)
    assert (signed.status_code, signed.json()["keyId"] is not None) == (200, True)
    assert (await owner.post(f"/{installed['id']}/activate")).status_code == 200


async def test_workers_are_told_the_signature_and_its_key(
    registry: LocalRegistry, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    installed = await owner.install(plugin_id)
    async with following(registry.settings.kafka_bootstrap) as announcements:
        announced = await announcements.until(lambda record: record.key == installed["id"])
    found = announced.installation
    assert found is not None
    assert found.provenance is not None
    expected = Statement(plugin_id=plugin_id, version=found.version, digest=found.digest)
    signing.verify(found.provenance.signature, found.provenance.public_key, expected)
