"""The times of a till's tickets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
def moments() -> Callable[[], datetime]:
    """Times a minute apart, as a till's tickets have."""
    passed = iter(range(1, 10_000))
    return lambda: datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(minutes=next(passed))
