"""Fixtures for the tests of plugins. pytest finds them when `outlet` is installed."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from outlet.samples import Retailer, Sale
    from outlet.testing import InstalledPlugin, Platform


@pytest.fixture
def outlet_platform() -> "Platform":
    """A platform of the test's own, with nothing in it."""
    from outlet.testing import Platform

    return Platform()


@pytest.fixture
def outlet_plugin_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of the plugin under test: the nearest one above the test that has a plugin.toml. May be overridden."""
    for folder in request.path.parents:
        if (folder / "plugin.toml").is_file():
            return folder
    raise pytest.UsageError(f"no plugin.toml above {request.path}: override the fixture outlet_plugin_folder")


@pytest.fixture
def outlet_plugin(
    outlet_platform: "Platform", outlet_plugin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[InstalledPlugin]":
    """The plugin under test, installed for the whole organization with all that it asks for, and active."""
    if str(outlet_plugin_folder) not in sys.path:
        monkeypatch.syspath_prepend(str(outlet_plugin_folder))
    # A loop of its own, so that no plugin for asynchronous tests is needed here, and none is disturbed.
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete(outlet_platform.install(outlet_plugin_folder))
    finally:
        loop.close()


@pytest.fixture(scope="session")
def outlet_retailer() -> "Retailer":
    """An invented retailer with three stores: stores, employees, products, customers."""
    from outlet import samples

    return samples.retailer()


@pytest.fixture(scope="session")
def outlet_sales(outlet_retailer: "Retailer") -> "list[Sale]":
    """A hundred tickets of that retailer, as its tills publish them: sales, refunds, voided and parked ones."""
    from outlet import samples

    return samples.sales(outlet_retailer, 100)
