"""The rules are the SDK's own (:mod:`outlet._rules.values`), which the test kit keeps too."""

from outlet._rules.values import (
    ColumnType,
    from_sql,
    to_sql,
)

__all__ = [
    "ColumnType",
    "from_sql",
    "to_sql",
]
