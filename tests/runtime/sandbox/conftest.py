"""One zygote for all tests that do not kill it; a pool and plugins for each."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from outlet.package import Package
from services.runtime.sandbox import GuestKey, SandboxPool, Zygote
from tests.runtime.sandbox import plugins
from tests.runtime.sandbox.plugins import Caller

StartPool = Callable[..., SandboxPool]
StartPlugin = Callable[..., Caller]


@pytest.fixture(scope="session")
async def zygote() -> AsyncIterator[Zygote]:
    async with Zygote(start_deadline=60) as running:  # however slow the machine is
        yield running


@pytest.fixture
async def packages() -> dict[str, Package]:
    """What the registry would serve, by digest."""
    return {}


@pytest.fixture
async def start_pool(zygote: Zygote, packages: dict[str, Package]) -> AsyncIterator[StartPool]:
    """Makes pools, and closes them."""
    started: list[SandboxPool] = []

    async def fetch(key: GuestKey) -> bytes:
        return packages[key.digest].data

    def start(**options: Any) -> SandboxPool:
        pool = SandboxPool(options.pop("zygote", zygote), options.pop("fetch", fetch), **options)
        started.append(pool)
        return pool

    yield start
    for pool in started:
        await pool.close()


@pytest.fixture
async def start_plugin(start_pool: StartPool, packages: dict[str, Package], tmp_path: Path) -> StartPlugin:
    """Builds a plugin from source and gives a caller to it. Options are the pool's."""

    def start(source: str, **options: Any) -> Caller:
        built = plugins.build(tmp_path, source)
        packages[built.digest] = built
        return Caller(start_pool(**options), built)

    return start
