"""The parts that several measurements start."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from outlet import package
from outlet.package import Package
from services.runtime.sandbox import GuestKey, SandboxPool, Zygote

PLUGIN = Path(__file__).parent / "plugin"
HANGING_PLUGIN = Path(__file__).parent / "hanging_plugin"
LOYALTY_PLUGIN = Path(__file__).parents[1] / "plugins" / "loyalty_points"


def built_plugin(folder: Path = PLUGIN) -> Package:
    """The package of a plugin; of the one that does next to nothing."""
    return package.build(folder)


@asynccontextmanager
async def open_pool(zygote: Zygote, plugin: Package, *, concurrency: int = 8) -> AsyncIterator[SandboxPool]:
    """A pool as a worker has it, which has the plugin at hand."""

    async def fetch(_: GuestKey) -> bytes:
        return plugin.data

    pool = SandboxPool(zygote, fetch, concurrency=concurrency)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def scratch() -> AsyncIterator[Path]:
    """A folder for the time of a measurement."""
    with tempfile.TemporaryDirectory(prefix="outlet-bench-") as folder:
        yield Path(folder)


def python(*arguments: str) -> list[str]:
    """The command line of another Python like this one."""
    return [sys.executable, *arguments]
