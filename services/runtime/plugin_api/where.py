"""Filters as SQL conditions: the grammar is here, what a field is and how it compares is the table's own matter."""

from collections.abc import Callable
from functools import partial
from typing import Any

from services.runtime.plugin_api.definition import TableDefinition
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.values import to_sql

MAX_DEPTH = 8
MAX_PARAMETERS = 1_000

COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


class Parameters:
    """The parameters of one statement, in the order of their ``$n``."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> str:
        if len(self.values) >= MAX_PARAMETERS:
            raise ApiRefusal("invalid_filter", f"a statement takes at most {MAX_PARAMETERS} values")
        self.values.append(value)
        return f"${len(self.values)}"


Comparison = Callable[[Any, Any, Any, Parameters], str]
"""``(field, operation, value, parameters)`` as SQL; values become parameters. Raises ApiRefusal."""


def condition(compare: Comparison, where: Any, parameters: Parameters, depth: int = 0) -> str:
    """``{"field": value}``, ``{"field": {"gte": value}}``, ``{"and": [...]}``, ``{"or": [...]}`` as SQL.

    Several entries must all hold; an empty filter holds always. Raises ApiRefusal.
    """
    if not isinstance(where, dict) or depth > MAX_DEPTH:
        raise ApiRefusal("invalid_filter", f"a filter is a mapping of fields, nested at most {MAX_DEPTH} deep")
    parts: list[str] = []
    for field, wanted in where.items():
        if field in ("and", "or"):
            if not isinstance(wanted, list) or not wanted:
                raise ApiRefusal("invalid_filter", f"{field!r} takes a list of filters")
            inner = [condition(compare, part, parameters, depth + 1) for part in wanted]
            parts.append("(" + f" {field.upper()} ".join(inner) + ")")
        else:
            operations = wanted if isinstance(wanted, dict) and wanted else {"eq": wanted}
            parts += [compare(field, name, value, parameters) for name, value in operations.items()]
    return "(" + " AND ".join(parts) + ")" if parts else "TRUE"


def columns_of(definition: TableDefinition) -> Comparison:
    """Comparisons with the columns of a custom table."""
    return partial(_compare, definition)


def _compare(definition: TableDefinition, field: Any, name: Any, value: Any, parameters: Parameters) -> str:
    kind = definition.type_of(field)
    column = f'"{field}"'
    if name == "eq" and value is None:
        return f"{column} IS NULL"
    if name == "eq":
        return f"{column} = {parameters.add(to_sql(field, kind, value))}"
    if name == "ne":
        return f"{column} IS DISTINCT FROM {parameters.add(to_sql(field, kind, value))}"
    if name in COMPARISONS and value is not None and kind != "json":
        return f"{column} {COMPARISONS[name]} {parameters.add(to_sql(field, kind, value))}"
    if name == "in" and isinstance(value, list):
        return f"{column} = ANY({parameters.add([to_sql(field, kind, item) for item in value])})"
    if name == "contains" and kind == "text" and value is not None:
        return f"strpos(lower({column}), lower({parameters.add(to_sql(field, kind, value))})) > 0"
    raise ApiRefusal(
        "invalid_filter",
        f"{field}: {name!r} with {value!r:.80} is no comparison of a {kind} column "
        "(eq, ne, lt, lte, gt, gte, in [list], contains on text)",
    )
