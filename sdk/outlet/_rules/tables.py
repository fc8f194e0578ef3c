"""What a custom table is: typed columns, defaults, unique constraints and indexes, and how it may grow."""

import re
from typing import Any, Literal

import msgspec

from outlet._rules.refusal import ApiRefusal
from outlet._rules.values import ColumnType, to_sql
from outlet.manifest import TABLE_NAME, Manifest

MAX_ROWS = 1_000
"""Rows that one call answers with, at most."""
AGGREGATES = ("sum", "avg", "min", "max")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
RESERVED = frozenset({"id", "created_at", "installation_id", "and", "or"})
MAX_COLUMNS = 64
MAX_COLUMNS_OF_ALL_VERSIONS = 256


class ColumnDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column. A column that is not nullable and has no default must be given a value in every row."""

    type: ColumnType
    nullable: bool = False
    default: Any = None


class TableDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A custom table as its plugin declared it."""

    columns: dict[str, ColumnDefinition]
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()

    def type_of(self, column: str) -> ColumnType | Literal["id"]:
        """The type of a column, the table's own ``id`` and ``created_at`` included. Raises ApiRefusal."""
        if column == "id":
            return "id"
        if column == "created_at":
            return "timestamp"
        try:
            return self.columns[column].type
        except KeyError:
            known = ", ".join(["id", "created_at", *self.columns])
            raise ApiRefusal("unknown_column", f"there is no column {column!r}; there are {known}") from None


def read_definition(data: Any) -> TableDefinition:
    """A definition as a plugin sent it, checked. Raises ApiRefusal."""
    try:
        definition = msgspec.convert(data, TableDefinition)
    except msgspec.ValidationError as error:
        raise ApiRefusal("invalid_table", str(error)) from error
    if not 1 <= len(definition.columns) <= MAX_COLUMNS:
        raise ApiRefusal("invalid_table", f"a table has 1 to {MAX_COLUMNS} columns")
    for name, column in definition.columns.items():
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ApiRefusal("invalid_table", f"{name!r} cannot name a column (lower case, not {sorted(RESERVED)})")
        if column.default is not None:
            to_sql(name, column.type, column.default)
    for columns in (*definition.unique, *definition.indexes):
        if not columns or any(name not in definition.columns for name in columns):
            raise ApiRefusal("invalid_table", f"unique and indexes list columns of the table, not {list(columns)}")
    return definition


def check_table_name(name: str, manifest: Manifest) -> None:
    """Raises ApiRefusal for what cannot name a table, or is none of the tables that the manifest declares."""
    if not TABLE_NAME.fullmatch(name):
        raise ApiRefusal("invalid_table", f"{name!r} cannot name a table: a-z, 0-9 and _, at most 20 characters")
    if manifest.tables is not None and name not in manifest.tables:
        raise ApiRefusal("table_not_declared", f"declare {name!r} in tables of plugin.toml, or leave tables out there")


def merged(known: TableDefinition, wanted: TableDefinition) -> TableDefinition:
    """The table that serves what ``wanted`` declares and all that was declared before. Raises ApiRefusal.

    Installations of several versions share the table, and each may go back to its former version. So nothing is taken
    away: a column that is not declared any more stays, and what fills it in new rows is its default or null.
    """
    for name, column in known.columns.items():
        _check_kept(name, column, wanted.columns.get(name))
    for name, column in wanted.columns.items():
        if name not in known.columns and not column.nullable and column.default is None:
            raise ApiRefusal("table_conflict", f"the new column {name!r} needs a default or must be nullable")
    if set(wanted.unique) != set(known.unique):
        raise ApiRefusal("table_conflict", "unique constraints of a table that exists cannot change")
    kept = {name: _with_default(column, wanted.columns.get(name)) for name, column in known.columns.items()}
    indexes = tuple(dict.fromkeys([*known.indexes, *wanted.indexes]))
    columns = {**wanted.columns, **kept}
    if len(columns) > MAX_COLUMNS_OF_ALL_VERSIONS:
        raise ApiRefusal(
            "table_conflict",
            f"with what former versions had, a table has at most {MAX_COLUMNS_OF_ALL_VERSIONS} columns",
        )
    return TableDefinition(columns=columns, unique=known.unique, indexes=indexes)


def _check_kept(name: str, column: ColumnDefinition, wanted: ColumnDefinition | None) -> None:
    if wanted is None:
        if not column.nullable and column.default is None:
            raise ApiRefusal(
                "table_conflict",
                f"column {name!r} cannot be left out: new rows would have no value for it, and the former version "
                "needs one when it is gone back to; give it a default first, in a version that still has it",
            )
        return
    if (wanted.type, wanted.nullable) != (column.type, column.nullable):
        raise ApiRefusal("table_conflict", f"column {name!r} exists differently; its type and nullable cannot change")
    if None not in (column.default, wanted.default) and wanted.default != column.default:
        raise ApiRefusal("table_conflict", f"column {name!r} has the default {column.default!r}, which cannot change")


def _with_default(column: ColumnDefinition, wanted: ColumnDefinition | None) -> ColumnDefinition:
    return column if wanted is None or wanted.default is None else wanted
