"""What a custom table is: typed columns, defaults, unique constraints and indexes, and the DDL that makes it real.

All installations of a plugin share one PostgreSQL table in schema ``plugin_data``; every row carries its installation,
every statement is bound to one, and so is every unique constraint.
"""

import hashlib
import json
import re
from typing import Any, Literal

import msgspec

from services.runtime.isolation import OWN_INSTALLATION, protect
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.values import ColumnType, to_sql

SQL_TYPES: dict[ColumnType, str] = {
    "text": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "json": "jsonb",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
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


def check_table_name(name: str) -> None:
    """Raises ApiRefusal for a name that is not ``[a-z][a-z0-9_]*`` of at most 20 characters."""
    if not TABLE_NAME.fullmatch(name):
        raise ApiRefusal("invalid_table", f"{name!r} cannot name a table: a-z, 0-9 and _, at most 20 characters")


def physical_name(plugin_id: str, name: str) -> str:
    """The quoted PostgreSQL name; plugin ids have no underscores, so two plugins never share one."""
    return f'plugin_data."{plugin_id.replace("-", "_")}__{name}"'


def create_statements(table: str, definition: TableDefinition) -> list[str]:
    """The DDL of a new table."""
    columns = [
        "installation_id text NOT NULL",
        "id uuid NOT NULL DEFAULT gen_random_uuid()",
        "created_at timestamptz NOT NULL DEFAULT clock_timestamp()",
        *(_column(name, column) for name, column in definition.columns.items()),
        "PRIMARY KEY (installation_id, id)",
    ]
    statements = [f"CREATE TABLE {table} ({', '.join(columns)})"]
    statements += [_index(table, columns, unique=True) for columns in definition.unique]
    statements += [_index(table, columns, unique=False) for columns in definition.indexes]
    return [*statements, *protect(table, OWN_INSTALLATION)]


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


def extend_statements(table: str, known: TableDefinition, whole: TableDefinition) -> list[str]:
    """The DDL that takes a table from ``known`` to ``whole``, which :func:`merged` made of it."""
    added = {name: column for name, column in whole.columns.items() if name not in known.columns}
    given = {
        name: column
        for name, column in whole.columns.items()
        if name in known.columns and column.default is not None and known.columns[name].default is None
    }
    return [
        *(f"ALTER TABLE {table} ADD COLUMN {_column(name, column)}" for name, column in added.items()),
        *(
            f'ALTER TABLE {table} ALTER COLUMN "{name}" SET DEFAULT {_literal(column)}'
            for name, column in given.items()
        ),
        *(_index(table, columns, unique=False) for columns in whole.indexes if columns not in known.indexes),
    ]


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


def _column(name: str, column: ColumnDefinition) -> str:
    default = "" if column.default is None else f" DEFAULT {_literal(column)}"
    return f'"{name}" {SQL_TYPES[column.type]}{"" if column.nullable else " NOT NULL"}{default}'


def _literal(column: ColumnDefinition) -> str:
    """A default as an SQL literal: DDL takes no parameters."""
    value = column.default if column.type != "json" else json.dumps(column.default)
    text = str(value).lower() if column.type == "boolean" else str(value)
    return f"'{text.replace(chr(39), chr(39) * 2)}'::{SQL_TYPES[column.type]}"


def _index(table: str, columns: tuple[str, ...], *, unique: bool) -> str:
    digest = hashlib.sha256(f"{table}{columns}{unique}".encode()).hexdigest()[:16]
    quoted = ", ".join(["installation_id", *(f'"{name}"' for name in columns)])
    return f'CREATE {"UNIQUE " if unique else ""}INDEX "ix_{digest}" ON {table} ({quoted})'
