"""What a worker loads: the bytes that the publisher signed as this plugin and version, or nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from outlet.package import Package
from outlet.signing import Statement, new_key, public_part
from services.common.provenance import Provenance
from services.common.runtime_client import PlatformRefusal
from services.runtime.packages import PackageStore, PackageUnavailable
from services.runtime.sandbox import GuestKey
from tests.registry.packages import package
from tests.support.signatures import provenance


class Shelf:
    """The registry's storage, which anyone may have been at."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked = 0
        self.spoilt = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.spoilt:
            return httpx.Response(409)
        found = self.content.get(request.url.path.rpartition("/")[2])
        return httpx.Response(404) if found is None else httpx.Response(200, content=found)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def store(shelf: Shelf) -> AsyncIterator[PackageStore]:
    transport = httpx.MockTransport(shelf.answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        yield PackageStore(client)


def opened(version: str = "1.0.0", code: str = "plugin = None\n") -> Package:
    from outlet.package import open_package

    return open_package(package("signed", version, code=code))


def key_of(built: Package, signed: Provenance | None) -> GuestKey:
    return GuestKey("acme", "signed", built.digest, built.manifest.version, signed)


async def test_what_the_publisher_signed_is_loaded_and_fetched_once(shelf: Shelf, store: PackageStore) -> None:
    built = opened()
    shelf.content[built.digest] = built.data
    key = key_of(built, provenance(Statement.of(built)))
    assert await store.fetch(key) == await store.fetch(key) == built.data
    assert shelf.asked == 1


async def test_a_package_swapped_under_the_same_digest_is_not_loaded(shelf: Shelf, store: PackageStore) -> None:
    built = opened()
    shelf.content[built.digest] = opened(code="plugin = 'of a burglar'\n").data
    key = key_of(built, provenance(Statement.of(built)))
    with pytest.raises(PlatformRefusal, match="have the digest") as refused:
        await store.fetch(key)
    assert (refused.value.code, refused.value.source) == ("package_untrusted", "platform")
    shelf.content[built.digest] = built.data
    assert await store.fetch(key) == built.data


async def test_every_load_is_verified_also_of_what_is_kept(shelf: Shelf, store: PackageStore) -> None:
    built = opened()
    shelf.content[built.digest] = built.data
    key = key_of(built, provenance(Statement.of(built)))
    await store.fetch(key)
    for doubtful in (None, provenance(Statement.of(opened("1.0.1")))):
        with pytest.raises(PlatformRefusal):
            await store.fetch(replace(key, provenance=doubtful))


async def test_an_older_package_is_not_loaded_as_a_newer_version(shelf: Shelf, store: PackageStore) -> None:
    old = opened("1.0.0")
    shelf.content[old.digest] = old.data
    downgraded = replace(key_of(old, provenance(Statement.of(old))), version="2.0.0")
    with pytest.raises(PlatformRefusal, match="version is"):
        await store.fetch(downgraded)


async def test_a_package_of_one_plugin_is_not_loaded_as_another(shelf: Shelf, store: PackageStore) -> None:
    built = opened()
    shelf.content[built.digest] = built.data
    with pytest.raises(PlatformRefusal, match="plugin_id is 'signed', not 'cash-desk'"):
        await store.fetch(replace(key_of(built, provenance(Statement.of(built))), plugin_id="cash-desk"))


async def test_a_key_put_in_the_publishers_place_does_not_prove_the_old_signature(
    shelf: Shelf, store: PackageStore
) -> None:
    built = opened()
    shelf.content[built.digest] = built.data
    signed = provenance(Statement.of(built))
    swapped = Provenance(signature=signed.signature, public_key=public_part(new_key()))
    with pytest.raises(PlatformRefusal, match="another key"):
        await store.fetch(key_of(built, swapped))


async def test_a_registry_that_is_away_is_not_a_package_that_is_not_trusted(store: PackageStore) -> None:
    built = opened()
    with pytest.raises(PackageUnavailable):
        await store.fetch(key_of(built, provenance(Statement.of(built))))


async def test_what_the_registry_itself_finds_swapped_is_not_asked_for_again_and_again(
    shelf: Shelf, store: PackageStore
) -> None:
    built = opened()
    shelf.spoilt = True
    with pytest.raises(PlatformRefusal, match="another package stored"):
        await store.fetch(key_of(built, provenance(Statement.of(built))))
