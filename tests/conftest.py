"""Fixtures for every test: embedded parts, and real ones on demand."""

import pytest

from tests.support.embedded import database, fresh_kafka_bootstrap, kafka_bootstrap, postgres, redis_url
from tests.support.real import real_parts

__all__ = ["database", "fresh_kafka_bootstrap", "kafka_bootstrap", "postgres", "real_parts", "redis_url"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the real parts carries the marker, so that ``-m "not real"`` leaves out no more and no less."""
    for item in items:
        if isinstance(item, pytest.Function) and "real_parts" in item.fixturenames:
            item.add_marker(pytest.mark.real)
