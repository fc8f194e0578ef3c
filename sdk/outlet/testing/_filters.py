"""Filters in memory. The grammar is the platform's: what a field is and how it compares is the table's own matter."""

import json
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

from outlet._rules.refusal import ApiRefusal
from outlet._rules.tables import TableDefinition
from outlet._rules.values import to_sql

MAX_DEPTH = 8
MAX_PARAMETERS = 1_000

Test: TypeAlias = Callable[[Any], bool]
"""Whether a row, or an entity, matches."""
Comparison: TypeAlias = Callable[[Any, Any, Any], Test]
"""``(field, operation, value)`` as a test. Raises ApiRefusal."""

ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
}


class Filter:
    """Reads one filter; it counts the values in it, which a statement takes only so many of."""

    def __init__(self, compare: Comparison) -> None:
        self._compare = compare
        self._values = 0

    def read(self, where: Any, depth: int = 0) -> Test:
        """The filter as a test. Raises ApiRefusal."""
        if not isinstance(where, dict) or depth > MAX_DEPTH:
            raise ApiRefusal("invalid_filter", f"a filter is a mapping of fields, nested at most {MAX_DEPTH} deep")
        tests: list[Test] = []
        for field, wanted in where.items():
            if field in ("and", "or"):
                tests.append(self._combined(field, wanted, depth))
                continue
            operations = wanted if isinstance(wanted, dict) and wanted else {"eq": wanted}
            for name, value in operations.items():
                self._values += 1
                if self._values > MAX_PARAMETERS:
                    raise ApiRefusal("invalid_filter", f"a statement takes at most {MAX_PARAMETERS} values")
                tests.append(self._compare(field, name, value))
        return lambda row: all(test(row) for test in tests)

    def _combined(self, word: str, wanted: Any, depth: int) -> Test:
        if not isinstance(wanted, list) or not wanted:
            raise ApiRefusal("invalid_filter", f"{word!r} takes a list of filters")
        tests = [self.read(part, depth + 1) for part in wanted]
        combine = all if word == "and" else any
        return lambda row: combine(test(row) for test in tests)


def matching_rows(definition: TableDefinition, where: Any) -> Test:
    """Which rows of a custom table match. Raises ApiRefusal."""
    return Filter(lambda field, name, value: _compared(definition, field, name, value)).read(where or {})


def stored(column: str, kind: Any, value: Any) -> Any:
    """A value as a row keeps it. Raises ApiRefusal."""
    read = to_sql(column, kind, value)
    if read is None:
        return None
    if kind == "json":
        return json.loads(read)
    return str(read) if kind == "id" else read


def identity(value: Any) -> Hashable:
    """JSON values are the same when these are: 1 is 1.0, but not true."""
    if isinstance(value, dict):
        return frozenset((key, identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(identity(item) for item in value)
    return (isinstance(value, bool), value)


def _compared(definition: TableDefinition, field: Any, name: Any, value: Any) -> Test:
    kind = definition.type_of(field)
    if name == "eq" and value is None:
        return lambda row: row[field] is None
    if name in ("eq", "ne"):
        wanted = identity(stored(field, kind, value))
        same = name == "eq"
        if value is None:
            return lambda row: row[field] is not None
        return lambda row: (row[field] is not None and identity(row[field]) == wanted) == same
    if name in ORDERINGS and value is not None and kind != "json":
        given, holds = stored(field, kind, value), ORDERINGS[name]
        return lambda row: row[field] is not None and holds(row[field], given)
    if name == "in" and isinstance(value, list):
        among = {identity(stored(field, kind, item)) for item in value if item is not None}
        return lambda row: row[field] is not None and identity(row[field]) in among
    if name == "contains" and kind == "text" and value is not None:
        part = stored(field, kind, value).lower()
        return lambda row: row[field] is not None and part in row[field].lower()
    raise ApiRefusal(
        "invalid_filter",
        f"{field}: {name!r} with {value!r:.80} is no comparison of a {kind} column "
        "(eq, ne, lt, lte, gt, gte, in [list], contains on text)",
    )
