"""Custom tables in memory: ``tables.define``, ``tables.find``, ..."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from outlet._rules.arguments.tables import Aggregate, Create, Define, Delete, Find, Update, Upsert
from outlet._rules.refusal import ApiRefusal
from outlet._rules.tables import (
    AGGREGATES,
    MAX_ROWS,
    TableDefinition,
    check_table_name,
    merged,
    read_definition,
)
from outlet._rules.values import INT64
from outlet.manifest import TABLE_NAME
from outlet.testing import _numbers
from outlet.testing._filters import identity, matching_rows, stored
from outlet.testing._groups import Group, method
from outlet.testing._store import Collection, DataRefused, Transaction

Row = dict[str, Any]


def definitions(plugin_id: str) -> Collection:
    """Where the tables of a plugin are defined, for all its installations."""
    return ("tables", plugin_id)


def rows(installation_id: str, table: str) -> Collection:
    """Where the rows of an installation are."""
    return ("rows", installation_id, table)


class CustomTables(Group):
    """The plugin's own tables, as this installation sees them."""

    @method("tables.define", Define)
    async def define(self, call: Define) -> None:
        if self.invocation.kind != "lifecycle":
            raise ApiRefusal("not_allowed_here", "tables are made in lifecycle hooks only, best in on_install")
        if self.work.nested:
            raise ApiRefusal("not_allowed_here", "tables are made outside of api.transaction()")
        check_table_name(call.name, self.plugin.manifest)
        wanted = read_definition(call.definition)
        work, place = self.writes(), definitions(self.plugin.manifest.plugin_id)
        known = work.get(place, call.name)
        if known is not None and known != wanted:
            merged(known, wanted)
        work.put(place, call.name, wanted)

    @method("tables.find", Find)
    async def find(self, call: Find) -> list[Row]:
        table = self._table(call.table)
        self.reads()
        return table.find(call.where, call.sort, call.limit)

    @method("tables.create", Create)
    async def create(self, call: Create) -> Row:
        table = self._table(call.table)
        self.writes()
        return table.create(call.values, self.platform.new_id(), self.platform.moment())

    @method("tables.update", Update)
    async def update(self, call: Update) -> list[Row]:
        table = self._table(call.table)
        self.writes()
        return table.update(call.where, call.values, call.increment)

    @method("tables.upsert", Upsert)
    async def upsert(self, call: Upsert) -> Row:
        table = self._table(call.table)
        self.writes()
        return table.upsert(call.key, call.values, call.increment, self.platform.new_id(), self.platform.moment())

    @method("tables.delete", Delete)
    async def delete(self, call: Delete) -> int:
        table = self._table(call.table)
        self.writes()
        return table.delete(call.where)

    @method("tables.aggregate", Aggregate)
    async def aggregate(self, call: Aggregate) -> list[Row]:
        table = self._table(call.table)
        self.reads()
        return table.aggregate(call.where, call.group_by, call.functions)

    def _table(self, name: str) -> "MemoryTable":
        definition = None
        if TABLE_NAME.fullmatch(name):
            definition = self.work.get(definitions(self.plugin.manifest.plugin_id), name)
        if definition is None:
            raise ApiRefusal("unknown_table", f"there is no table {name!r}; make it in on_install")
        return MemoryTable(definition, rows(self.plugin.id, name), self.work)


class MemoryTable:
    """One custom table of one installation. Rows keep their own columns; one that was added later has its default."""

    def __init__(self, definition: TableDefinition, place: Collection, work: Transaction) -> None:
        self._definition = definition
        self._place = place
        self._work = work
        self._defaults = {
            name: stored(name, column.type, column.default) for name, column in definition.columns.items()
        }

    def find(self, where: Any, sort: list[str], limit: int) -> list[Row]:
        """Rows that match, ordered; what is null comes last, or first when descending."""
        if not 1 <= limit <= MAX_ROWS:
            raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_ROWS}")
        for term in sort:
            self._definition.type_of(term.removeprefix("-"))
        found = sorted(self._matching(where), key=lambda row: row["id"])
        for term in reversed(sort):
            column = term.removeprefix("-")
            found.sort(key=lambda row: _ordered(row[column]), reverse=term.startswith("-"))
        return found[:limit]

    def create(self, values: Row, new_id: str, moment: Any) -> Row:
        """Insert one row."""
        return self._insert({"id": new_id, "created_at": moment} | self._defaults | self._read(values))

    def update(self, where: Any, values: Row, increment: Row) -> list[Row]:
        """Change the rows that match, all of them or none."""
        _distinct(values, increment)
        found = list(self._matching(where))
        changes, steps = self._read(values), self._steps(increment)
        if not changes and not steps:
            raise ApiRefusal("invalid_value", "update needs values or increment")
        changed = [self._changed(row, changes, steps) for row in found]
        for row in changed:
            self._work.put(self._place, row["id"], row)
        for row in changed:
            self._check(row)
        return changed

    def upsert(self, key: Row, values: Row, increment: Row, new_id: str, moment: Any) -> Row:
        """Insert the row of ``key``, or change it; an increment starts from the column's default."""
        if set(key) not in [set(columns) for columns in self._definition.unique]:
            raise ApiRefusal("invalid_key", f"upsert needs the columns of one unique constraint, not {sorted(key)}")
        _distinct(key, values, increment)
        wanted, changes, steps = self._read(key), self._read(values), self._steps(increment)
        first = {name: (self._defaults[name] or 0) + step for name, step in steps.items()}
        new = {"id": new_id, "created_at": moment} | self._defaults | wanted | changes | first
        self._check_present(new)  # PostgreSQL looks at the new row first, also when it is not needed
        for row in self._all():
            if all(row[name] is not None and row[name] == value for name, value in wanted.items()):
                changed = self._changed(row, changes, steps)
                self._work.put(self._place, row["id"], changed)
                self._check(changed)
                return changed
        return self._insert(new)

    def delete(self, where: Any) -> int:
        """Delete the rows that match; how many there were."""
        found = list(self._matching(where))
        for row in found:
            self._work.drop(self._place, row["id"])
        return len(found)

    def aggregate(self, where: Any, group_by: list[str], functions: dict[str, list[str]]) -> list[Row]:
        """Groups with their ``count`` and, for each asked function and column, ``<function>_<column>``."""
        for column in group_by:
            self._definition.type_of(column)
        for function, columns in functions.items():
            if function not in AGGREGATES:
                raise ApiRefusal("invalid_aggregate", f"{function!r} is none of {', '.join(AGGREGATES)}")
            for column in columns:
                self._numeric(column)
        groups: dict[Any, list[Row]] = {} if group_by else {(): []}
        for row in self._matching(where):
            groups.setdefault(tuple(identity(row[column]) for column in group_by), []).append(row)
        answer = [self._group(members, group_by, functions) for members in groups.values()]
        answer.sort(key=lambda group: [_ordered(group[column]) for column in group_by])
        return answer[:MAX_ROWS]

    def _group(self, members: list[Row], group_by: list[str], functions: dict[str, list[str]]) -> Row:
        found: Row = {column: members[0][column] for column in group_by}
        found["count"] = len(members)
        for function, columns in functions.items():
            for column in columns:
                values = [row[column] for row in members if row[column] is not None]
                found[f"{function}_{column}"] = _aggregated(function, values)
        return found

    def _all(self) -> Iterator[Row]:
        return (self._defaults | row for _, row in self._work.scan(self._place))

    def _matching(self, where: Any) -> Iterator[Row]:
        test = matching_rows(self._definition, where)
        return (row for row in self._all() if test(row))

    def _insert(self, row: Row) -> Row:
        self._work.put(self._place, row["id"], row)
        self._check(row)
        return row

    def _changed(self, row: Row, changes: Row, steps: Row) -> Row:
        sums = {name: None if row[name] is None else row[name] + step for name, step in steps.items()}
        return row | changes | sums

    def _read(self, values: Row) -> Row:
        for name in values:
            if name not in self._definition.columns:
                known = list(self._definition.columns)
                raise ApiRefusal("unknown_column", f"{name!r} cannot be set; columns are {known}")
        return {name: stored(name, self._definition.columns[name].type, value) for name, value in values.items()}

    def _steps(self, increment: Row) -> Row:
        for name, step in increment.items():
            self._numeric(name)
            if step is None:
                raise ApiRefusal("invalid_value", f"{name}: an increment is a number")
        return self._read(increment)

    def _numeric(self, column: str) -> None:
        if self._definition.type_of(column) not in ("integer", "decimal"):
            raise ApiRefusal("invalid_value", f"{column}: only integer and decimal columns can be added up")

    def _check(self, row: Row) -> None:
        """Raise DataRefused for a row that the table cannot hold."""
        self._check_present(row)
        for name, column in self._definition.columns.items():
            if column.type == "integer" and row[name] is not None and row[name] not in INT64:
                raise DataRefused("invalid_value", "bigint out of range")
        for columns in self._definition.unique:
            key = [row[name] for name in columns]
            same = (other["id"] != row["id"] and [other[name] for name in columns] == key for other in self._all())
            if None not in key and any(same):
                raise DataRefused("unique_violation", f"a row with these {', '.join(columns)} exists")

    def _check_present(self, row: Row) -> None:
        for name, column in self._definition.columns.items():
            if row[name] is None and not column.nullable:
                raise DataRefused("missing_value", f"{name}: needs a value")


def _aggregated(function: str, values: list[Any]) -> Any:
    if function == "sum":
        return _numbers.total([Decimal(value) for value in values])
    if function == "avg":
        return _numbers.mean([Decimal(value) for value in values])
    if not values:
        return None
    return min(values) if function == "min" else max(values)


def _ordered(value: Any) -> tuple[bool, Any]:
    return (True, "") if value is None else (False, value if not isinstance(value, dict | list) else repr(value))


def _distinct(*changes: Row) -> None:
    """Raise ApiRefusal when one statement would set a column twice."""
    names = [name for change in changes for name in change]
    for name in names:
        if names.count(name) > 1:
            raise ApiRefusal("invalid_value", f"{name!r:.60} is in two of key, values and increment")
