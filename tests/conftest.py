"""Fixtures for every test: embedded parts, and real ones on demand."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.embedded import database, fresh_kafka_bootstrap, kafka_bootstrap, postgres, redis_url
from tests.support.real import real_parts

__all__ = ["database", "fresh_kafka_bootstrap", "kafka_bootstrap", "postgres", "real_parts", "redis_url"]

HEAVY = (
    "tests/attacks/",
    "tests/author/",
    "tests/bench/",
    "tests/chaos/",
    "tests/common/test_kafka.py",
    "tests/deploy/",
    "tests/e2e/",
)
"""Tests that start whole platforms, brokers or benchmarks: one after the other, however many processes there are."""
REAL = ("tests/registry/test_real_parts.py", "tests/runtime/delivery/test_membership.py")
"""Further ones that use the real parts, which so are started once."""


class HeavyTogether(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is not typed
    """A file goes to one process, and all that needs much of the machine to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "heavy" if path.startswith(HEAVY + REAL) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> HeavyTogether:
    """How pytest-xdist shares the tests out, where it is asked to (``-n``)."""
    return HeavyTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the real parts carries the marker, so that ``-m "not real"`` leaves out no more and no less."""
    for item in items:
        if isinstance(item, pytest.Function) and "real_parts" in item.fixturenames:
            item.add_marker(pytest.mark.real)
