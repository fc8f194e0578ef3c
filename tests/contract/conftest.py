"""Each test of the contract runs twice: in memory, and on the platform."""

import sys
from collections.abc import AsyncIterator

import pytest

from services.runtime.sandbox import Zygote
from tests.contract.grounds import NEIGHBOUR, PROBE, Ground, InMemory, OnThePlatform, Pool
from tests.runtime.conftest import runtime_dsn, runtime_pool, runtime_template

__all__ = ["runtime_dsn", "runtime_pool", "runtime_template"]


@pytest.fixture(scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    async with Zygote(start_deadline=60) as running:
        yield running


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    monkeypatch.setattr(sys, "path", [str(PROBE), str(NEIGHBOUR), *sys.path])
    return InMemory()


@pytest.fixture
async def on_the_platform(zygote: Zygote, runtime_pool: Pool) -> AsyncIterator[OnThePlatform]:
    real = OnThePlatform(zygote, runtime_pool)
    yield real
    await real.sandbox.close()


@pytest.fixture(params=["in_memory", "on_the_platform"])
def ground(request: pytest.FixtureRequest) -> Ground:
    found: Ground = request.getfixturevalue(request.param)
    return found
