"""Statements on custom tables. Each is bound to one installation by the host; a plugin cannot name another."""

import json
from typing import Any

import asyncpg
import msgspec

from outlet._rules.tables import AGGREGATES, MAX_ROWS
from services.common.directory import Installation
from services.runtime.plugin_api import scoping
from services.runtime.plugin_api.definition import (
    TableDefinition,
    create_statements,
    extend_statements,
    merged,
    physical_name,
)
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.key_value_store import forget_values
from services.runtime.plugin_api.values import from_sql, to_sql
from services.runtime.plugin_api.where import Parameters, columns_of, condition

__all__ = ["MAX_ROWS", "CustomTable", "TableCatalog", "checked", "purge"]


class TableCatalog:
    """The definitions of custom tables, kept in memory once read: a version of a plugin never changes its own.

    The table is the union of what the versions of a plugin declared; each version sees what it declared itself.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], TableDefinition] = {}

    def known(self, digest: str, name: str) -> TableDefinition | None:
        """The definition as the package with this digest found it after its own set-up ran."""
        return self._known.get((digest, name))

    async def load(
        self, connection: asyncpg.Connection, plugin_id: str, name: str, digest: str
    ) -> TableDefinition | None:
        """What the package with this digest declared, else all that the table has; None: there is no such table."""
        text = await connection.fetchval(
            "SELECT COALESCE(views -> $3, definition) FROM plugin_table WHERE plugin_id = $1 AND name = $2",
            plugin_id,
            name,
            digest,
        )
        return None if text is None else msgspec.json.decode(text, type=TableDefinition)

    def remember(self, digest: str, name: str, definition: TableDefinition) -> None:
        """Keep a definition that is committed."""
        self._known[digest, name] = definition

    async def define(
        self, connection: asyncpg.Connection, plugin_id: str, name: str, digest: str, wanted: TableDefinition
    ) -> None:
        """Make a table, or add to it what it lacks. Raises ApiRefusal when it exists otherwise."""
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"plugin_table/{plugin_id}")
        text = await connection.fetchval(_WHOLE, plugin_id, name)
        known = None if text is None else msgspec.json.decode(text, type=TableDefinition)
        table = physical_name(plugin_id, name)
        whole = wanted if known is None else merged(known, wanted)
        statements = create_statements(table, whole) if known is None else extend_statements(table, known, whole)
        for statement in statements:
            await connection.execute(statement)
        view, definition = (msgspec.json.encode(each).decode() for each in (wanted, whole))
        await connection.execute(_DECLARE, plugin_id, name, definition, digest, view)


_WHOLE = "SELECT definition FROM plugin_table WHERE plugin_id = $1 AND name = $2"
_DECLARED = "SELECT name, definition, views FROM plugin_table WHERE plugin_id = $1 ORDER BY name"
_DECLARE = """
INSERT INTO plugin_table (plugin_id, name, definition, views)
VALUES ($1, $2, $3::jsonb, jsonb_build_object($4::text, $5::jsonb))
ON CONFLICT (plugin_id, name) DO UPDATE
SET definition = excluded.definition, views = plugin_table.views || excluded.views
"""


async def clear_columns(connection: asyncpg.Connection, installation: Installation, former_digest: str) -> None:
    """Give columns that an installation cannot reach any more their defaults, or null, in its rows.

    It reaches what its version declares, and what the one before does, to which it may go back. A version that declared
    nothing of a table sees all of it.
    """
    reached = {installation.digest, former_digest}
    for row in await connection.fetch(_DECLARED, installation.plugin_id):
        views = msgspec.json.decode(row["views"], type=dict[str, TableDefinition])
        if not reached <= views.keys():
            continue
        columns = msgspec.json.decode(row["definition"], type=TableDefinition).columns
        gone = [name for name in columns if not any(name in views[digest].columns for digest in reached)]
        if gone:
            cleared = ", ".join(f'"{name}" = DEFAULT' for name in gone)
            table = physical_name(installation.plugin_id, row["name"])
            await connection.execute(f"UPDATE {table} SET {cleared} WHERE installation_id = $1", installation.id)  # noqa: S608


async def purge(connection: asyncpg.Connection, plugin_id: str, installation_id: str) -> None:
    """Delete every row of one installation: its key-value data, and what it has in the plugin's custom tables."""
    await forget_values(connection, installation_id)
    names = await connection.fetch("SELECT name FROM plugin_table WHERE plugin_id = $1 ORDER BY name", plugin_id)
    for row in names:
        await connection.execute(
            f"DELETE FROM {physical_name(plugin_id, row['name'])} WHERE installation_id = $1",  # noqa: S608
            installation_id,
        )


class CustomTable:
    """One custom table as one installation sees it."""

    def __init__(self, plugin_id: str, name: str, definition: TableDefinition, installation_id: str) -> None:
        self._table = physical_name(plugin_id, name)
        self._definition = definition
        self._installation_id = installation_id
        self._returned = ", ".join(f'"{column}"' for column in ("id", "created_at", *definition.columns))

    async def find(
        self, connection: asyncpg.Connection, where: Any, sort: list[str], limit: int
    ) -> list[dict[str, Any]]:
        """Rows that match, ordered by ``sort`` (``-column`` descends), at most ``limit`` (1 to 1,000)."""
        if not 1 <= limit <= MAX_ROWS:
            raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_ROWS}")
        scope, parameters = self._scope(where)
        order = ", ".join([*(self._order(term) for term in sort), "id"])
        sql = f"SELECT {self._returned} FROM {self._table} WHERE {scope} ORDER BY {order} LIMIT {limit}"  # noqa: S608
        return [self._row(row) for row in await checked(connection.fetch(sql, *parameters.values))]

    async def create(self, connection: asyncpg.Connection, values: dict[str, Any]) -> dict[str, Any]:
        """Insert one row and return it. Raises ApiRefusal ``unique_violation`` or ``missing_value``."""
        parameters = Parameters()
        columns = {"installation_id": parameters.add(self._installation_id), **self._assign(values, parameters)}
        sql = (
            f"INSERT INTO {self._table} ({_names(columns)}) VALUES ({', '.join(columns.values())}) "  # noqa: S608
            f"RETURNING {self._returned}"
        )
        return self._row(await self._one(connection, sql, parameters))

    async def update(
        self, connection: asyncpg.Connection, where: Any, values: dict[str, Any], increment: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Change the rows that match, and return them as they are now. The match and the change are one statement."""
        _distinct(values, increment)
        scope, parameters = self._scope(where)
        changes = [f'"{name}" = {place}' for name, place in self._assign(values, parameters).items()]
        changes += [f'"{name}" = "{name}" + {place}' for name, place in self._increments(increment, parameters).items()]
        if not changes:
            raise ApiRefusal("invalid_value", "update needs values or increment")
        sql = f"UPDATE {self._table} SET {', '.join(changes)} WHERE {scope} RETURNING {self._returned}"  # noqa: S608
        return [self._row(row) for row in await checked(connection.fetch(sql, *parameters.values))]

    async def upsert(
        self, connection: asyncpg.Connection, key: dict[str, Any], values: dict[str, Any], increment: dict[str, Any]
    ) -> dict[str, Any]:
        """Insert the row of ``key``, or change it; an increment starts from the column's default."""
        if set(key) not in [set(columns) for columns in self._definition.unique]:
            raise ApiRefusal("invalid_key", f"upsert needs the columns of one unique constraint, not {sorted(key)}")
        _distinct(key, values, increment)
        parameters = Parameters()
        columns = {"installation_id": parameters.add(self._installation_id), **self._assign(key, parameters)}
        changes = self._assign(values, parameters)
        steps = self._increments(increment, parameters)
        columns |= changes
        for name, step in increment.items():
            column = self._definition.columns[name]
            first = to_sql(name, column.type, column.default or 0) + to_sql(name, column.type, step)
            columns[name] = parameters.add(first)
        updates = [f'"{name}" = {place}' for name, place in changes.items()]
        updates += [f'"{name}" = known."{name}" + {place}' for name, place in steps.items()]
        updates = updates or [f'"{name}" = excluded."{name}"' for name in key]
        sql = (
            f"INSERT INTO {self._table} AS known ({_names(columns)}) VALUES ({', '.join(columns.values())}) "  # noqa: S608
            f"ON CONFLICT (installation_id, {_names(key)}) DO UPDATE SET {', '.join(updates)} "
            f"RETURNING {self._returned}"
        )
        return self._row(await self._one(connection, sql, parameters))

    async def delete(self, connection: asyncpg.Connection, where: Any) -> int:
        """Delete the rows that match; how many there were."""
        scope, parameters = self._scope(where)
        sql = f"DELETE FROM {self._table} WHERE {scope}"  # noqa: S608
        status = await checked(connection.execute(sql, *parameters.values))
        return int(status.rpartition(" ")[2])

    async def aggregate(
        self, connection: asyncpg.Connection, where: Any, group_by: list[str], functions: dict[str, list[str]]
    ) -> list[dict[str, Any]]:
        """Groups with their ``count`` and, for each asked function and column, ``<function>_<column>``."""
        scope, parameters = self._scope(where)
        for column in group_by:
            self._definition.type_of(column)
        selected = [*(f'"{column}"' for column in group_by), 'count(*) AS "count"']
        for function, columns in functions.items():
            if function not in AGGREGATES:
                raise ApiRefusal("invalid_aggregate", f"{function!r} is none of {', '.join(AGGREGATES)}")
            selected += [f'{function}("{column}") AS "{function}_{column}"' for column in map(self._numeric, columns)]
        grouping = f" GROUP BY {_names(group_by)} ORDER BY {_names(group_by)}" if group_by else ""
        sql = f"SELECT {', '.join(selected)} FROM {self._table} WHERE {scope}{grouping} LIMIT {MAX_ROWS}"  # noqa: S608
        return [self._row(row) for row in await checked(connection.fetch(sql, *parameters.values))]

    def _scope(self, where: Any) -> tuple[str, Parameters]:
        parameters = Parameters()
        own = scoping.installation_rows(self._installation_id, parameters)
        return f"{own} AND {condition(columns_of(self._definition), where or {}, parameters)}", parameters

    def _assign(self, values: dict[str, Any], parameters: Parameters) -> dict[str, str]:
        places: dict[str, str] = {}
        for name, value in values.items():
            if name not in self._definition.columns:
                raise ApiRefusal(
                    "unknown_column", f"{name!r} cannot be set; columns are {list(self._definition.columns)}"
                )
            places[name] = parameters.add(to_sql(name, self._definition.columns[name].type, value))
        return places

    def _increments(self, increment: dict[str, Any], parameters: Parameters) -> dict[str, str]:
        for name, step in increment.items():
            self._numeric(name)
            if step is None:
                raise ApiRefusal("invalid_value", f"{name}: an increment is a number")
        return self._assign(increment, parameters)

    def _numeric(self, column: str) -> str:
        if self._definition.type_of(column) not in ("integer", "decimal"):
            raise ApiRefusal("invalid_value", f"{column}: only integer and decimal columns can be added up")
        return column

    def _order(self, term: str) -> str:
        column = term.removeprefix("-")
        self._definition.type_of(column)
        return f'"{column}"{" DESC" if term.startswith("-") else ""}'

    def _row(self, row: asyncpg.Record) -> dict[str, Any]:
        kinds = self._definition.columns
        return {
            name: json.loads(value)
            if value is not None and name in kinds and kinds[name].type == "json"
            else from_sql(value)
            for name, value in row.items()
        }

    @staticmethod
    async def _one(connection: asyncpg.Connection, sql: str, parameters: Parameters) -> asyncpg.Record:
        return await checked(connection.fetchrow(sql, *parameters.values))


async def checked(statement: Any) -> Any:
    """Turn what the data itself is refused for into an answer to the plugin."""
    try:
        return await statement
    except asyncpg.UniqueViolationError as error:
        raise ApiRefusal("unique_violation", error.detail or "a row with these values exists") from error
    except asyncpg.NotNullViolationError as error:
        raise ApiRefusal("missing_value", f"{error.column_name}: needs a value") from error
    except (asyncpg.DataError, ValueError) as error:  # the server's refusal, or the driver's before it is asked
        raise ApiRefusal("invalid_value", str(error)) from error


def _distinct(*changes: dict[str, Any]) -> None:
    """Raise ApiRefusal when one statement would set a column twice."""
    names = [name for change in changes for name in change]
    for name in names:
        if names.count(name) > 1:
            raise ApiRefusal("invalid_value", f"{name!r:.60} is in two of key, values and increment")


def _names(columns: Any) -> str:
    return ", ".join(f'"{name}"' for name in columns)
