"""Libraries in guests: each plugin's process has its own, in the versions that were resolved for it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from outlet import package
from outlet.manifest import Manifest
from outlet.manifest import encode as encode_manifest
from outlet.package import Package
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import GuestKey
from tests.runtime.sandbox.conftest import StartPool
from tests.runtime.sandbox.plugins import Caller, pack_unimported

USING = """
import money

@plugin.route("GET", "/money")
async def show(api, request):
    money.SEEN.append(api.organization)
    return {"version": money.VERSION, "seen": money.SEEN, "sum": money.add(1, 2)}
"""
ROUTES: Any = {"routes": ({"method": "GET", "path": "/money"},)}


def library(version: str = "1.0.0", plugin_id: str = "money", **sources: str) -> Package:
    """A library whose package is named like it, or has these packages."""
    sources = sources or {"money": f"VERSION = {version!r}\nSEEN = []\nfrom money.sums import add\n"}
    manifest = Manifest(
        plugin_id=plugin_id,
        name="M",
        version=version,
        author="T",
        description="D",
        entry=next(iter(sources)),
        category="library",
    )
    files = {"manifest.json": encode_manifest(manifest)}
    files |= {f"{top}/__init__.py": source.encode() for top, source in sources.items()}
    files |= {f"{top}/sums.py": b"def add(*numbers): return sum(numbers)" for top in sources}
    return package.open_package(package._zip(files))


def caller(pool: Any, packages: dict[str, Package], plugin: Package, *libraries: Package, **options: Any) -> Caller:
    """A caller of a plugin that is given libraries."""
    packages.update({each.digest: each for each in (plugin, *libraries)})
    found = Caller(pool, plugin, **options)
    own = tuple(GuestKey(found.key.organization, each.manifest.plugin_id, each.digest) for each in libraries)
    found.key = replace(found.key, libraries=own)
    return found


async def money_of(one: Caller) -> Any:
    return json.loads((await one.route("GET", "/money")).body)


@pytest.fixture
def using() -> Package:
    """A plugin that imports the library."""
    return pack_unimported(USING, **ROUTES)


async def test_a_plugin_imports_the_library_that_it_was_given(
    start_pool: StartPool, packages: dict[str, Package], using: Package
) -> None:
    one = caller(start_pool(), packages, using, library("1.2.0"))
    assert await money_of(one) == {"version": "1.2.0", "seen": ["acme"], "sum": 3}


async def test_dependants_have_their_own_versions_and_share_no_state(
    start_pool: StartPool, packages: dict[str, Package], using: Package
) -> None:
    pool = start_pool()
    other = pack_unimported(USING, plugin_id="other", **ROUTES)
    callers = [
        caller(pool, packages, using, library("1.0.0")),
        caller(pool, packages, using, library("2.0.0")),
        caller(pool, packages, other, library("1.0.0")),
        caller(pool, packages, using, library("1.0.0"), organization="globex"),
    ]
    answers = [await money_of(each) for each in callers]
    assert [(each["version"], each["seen"]) for each in answers] == [
        ("1.0.0", ["acme"]),
        ("2.0.0", ["acme"]),
        ("1.0.0", ["acme"]),
        ("1.0.0", ["globex"]),
    ]
    assert len(pool) == 4


async def test_without_the_library_the_plugin_cannot_be_loaded(
    start_pool: StartPool, packages: dict[str, Package], using: Package
) -> None:
    with pytest.raises(PluginFailed, match="No module named 'money'") as failed:
        await money_of(caller(start_pool(), packages, using))
    assert failed.value.code == "plugin_load_failed"


@pytest.mark.parametrize(
    ("sources", "whose"),
    [
        ({"json": "def loads(text): return 'mine'"}, "Python or Outlet"),
        ({"outlet": ""}, "Python or Outlet"),
        ({"msgspec": ""}, "Python or Outlet"),
        ({"probe": "plugin = None"}, "the plugin"),
        ({"money": "VERSION = 'evil'"}, "money"),
    ],
)
async def test_a_library_cannot_take_the_place_of_another_module(
    start_pool: StartPool, packages: dict[str, Package], using: Package, sources: dict[str, str], whose: str
) -> None:
    """The attack: a library whose package is called like one that the plugin means to import."""
    one = caller(start_pool(), packages, using, library(), library(plugin_id="evil", **sources))
    with pytest.raises(PluginFailed, match=f"the library evil has a package .*, which is one of {whose}"):
        await money_of(one)


async def test_a_library_that_is_not_the_announced_one_is_not_run(
    start_pool: StartPool, packages: dict[str, Package], using: Package
) -> None:
    announced, sent = library(), library("1.0.0", money="VERSION = 'forged'\nSEEN = []\ndef add(*_): return 0\n")
    served = {using.digest: using.data, announced.digest: sent.data}

    async def fetch(key: GuestKey) -> bytes:
        return served[key.digest]

    with pytest.raises(PluginFailed, match=announced.digest):
        await money_of(caller(start_pool(fetch=fetch), packages, using, announced))


async def test_a_plugin_is_no_library_of_another(
    start_pool: StartPool, packages: dict[str, Package], using: Package
) -> None:
    private = pack_unimported("SECRET = 1", plugin_id="neighbour")
    with pytest.raises(PluginFailed, match="neighbour is no library"):
        await money_of(caller(start_pool(), packages, using, private))
