"""The parts that several measurements start."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from outlet import package
from outlet.package import Package
from services.common.directory import Installation
from services.runtime.sandbox import SandboxPool, Zygote

FOLDER = Path(__file__).parent / "plugin"


def built_plugin() -> Package:
    """The package of the plugin that is measured."""
    return package.build(FOLDER)


def installed(plugin: Package, organization: str = "acme") -> Installation:
    """An active installation of it."""
    return Installation(
        id=f"bench-{organization}",
        revision=1,
        plugin_id=plugin.manifest.plugin_id,
        version=plugin.manifest.version,
        digest=plugin.digest,
        organization_id=organization,
        store_id=None,
        status="active",
        config={},
        grants=(),
        manifest=plugin.manifest,
    )


@asynccontextmanager
async def open_pool(zygote: Zygote, plugin: Package, *, concurrency: int = 8) -> AsyncIterator[SandboxPool]:
    """A pool as a worker has it, which has the plugin at hand."""

    async def fetch(_: str) -> bytes:
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
