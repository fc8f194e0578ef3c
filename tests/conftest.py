"""Fixtures for every test: embedded parts, and real ones on demand."""

import pytest

from tests.support.embedded import database, fresh_kafka_bootstrap, kafka_bootstrap, postgres, redis_url
from tests.support.real import real_parts

HEAVY = {("tests", name) for name in ("attacks", "bench", "deploy", "e2e")}
"""Tests that start whole platforms, brokers or benchmarks: one after the other, on whatever processes."""

__all__ = ["database", "fresh_kafka_bootstrap", "kafka_bootstrap", "postgres", "real_parts", "redis_url"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the real parts carries the marker, so that ``-m "not real"`` leaves out no more and no less.

    With several processes (pytest-xdist) a file goes to one of them; all that needs much of the machine goes to one.
    """
    for item in items:
        if isinstance(item, pytest.Function) and "real_parts" in item.fixturenames:
            item.add_marker(pytest.mark.real)
        item.add_marker(pytest.mark.xdist_group(_company(item)))


def _company(item: pytest.Item) -> str:
    place = item.path.relative_to(item.config.rootpath)
    heavy = item.get_closest_marker("real") or place.parts[:2] in HEAVY
    return "heavy" if heavy else str(place)
