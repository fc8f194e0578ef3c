"""The rules are the SDK's own (:mod:`outlet._rules.json_schema`), which the test kit keeps too."""

from outlet._rules.json_schema import (
    Fault,
    UnusableSchema,
    check_schema,
    faults,
    parts,
)

__all__ = [
    "Fault",
    "UnusableSchema",
    "check_schema",
    "faults",
    "parts",
]
