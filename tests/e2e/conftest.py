"""What every test of the whole platform starts from."""

from pathlib import Path

import pytest

from outlet.package import Package, build

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(scope="session")
def loyalty() -> Package:
    """The loyalty plugin as its author would publish it."""
    return build(PLUGINS / "loyalty_points")
