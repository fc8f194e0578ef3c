"""The rules are the SDK's own (:mod:`outlet._rules.patterns`), which the test kit keeps too."""

from outlet._rules.patterns import (
    MAX_TEXT,
    UnsafePattern,
    check_pattern,
)

__all__ = [
    "MAX_TEXT",
    "UnsafePattern",
    "check_pattern",
]
