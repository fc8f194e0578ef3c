"""What a custom table is: typed columns, defaults, unique constraints and indexes, and the DDL that makes it real.

All installations of a plugin share one PostgreSQL table in schema ``plugin_data``; every row carries its installation,
every statement is bound to one, and so is every unique constraint.
"""

import hashlib
import json

from outlet._rules.tables import (
    ColumnDefinition,
    TableDefinition,
    check_table_name,
    merged,
    read_definition,
)
from outlet.manifest import TABLE_NAME
from services.runtime.isolation import OWN_INSTALLATION, protect
from services.runtime.plugin_api.values import ColumnType

__all__ = [
    "TABLE_NAME",
    "TableDefinition",
    "check_table_name",
    "create_statements",
    "extend_statements",
    "merged",
    "physical_name",
    "read_definition",
]

SQL_TYPES: dict[ColumnType, str] = {
    "text": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "json": "jsonb",
}


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
