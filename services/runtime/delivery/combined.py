"""Statements of many callers on one connection: like ones go to PostgreSQL together, in one round trip.

What waits while the connection is busy goes next, grouped by its SQL. A caller waits for each statement before its next
one, so its own keep their order; between callers, whose statements run beside each other, none was promised.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

_NUMBER = "_number"
_VERBS = ("INSERT", "UPDATE", "DELETE")


class Row:
    """A row as :class:`asyncpg.Record` shows it, without the number of its statement, which came last."""

    __slots__ = ("_record",)

    def __init__(self, record: asyncpg.Record) -> None:
        self._record = record

    def __getitem__(self, key: str | int) -> Any:
        return self._record[key]

    def __len__(self) -> int:
        return len(self._record) - 1

    def __iter__(self) -> Iterator[Any]:
        return iter(self._record[:-1])

    def keys(self) -> list[str]:
        return list(self._record.keys())[:-1]

    def values(self) -> list[Any]:
        return list(self)

    def items(self) -> list[tuple[str, Any]]:
        return list(self._record.items())[:-1]


class Statement:
    """One that waits, and its outcome: rows, or for ``status`` how many rows it touched."""

    __slots__ = ("arguments", "outcome", "sql", "status")

    def __init__(self, sql: str, arguments: tuple[Any, ...], *, status: bool) -> None:
        self.sql = sql
        self.arguments = arguments
        self.status = status
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


async def run(connection: asyncpg.Connection, statements: Sequence[Statement]) -> None:
    """Run statements, like ones together, and set their outcomes; none of them when one fails, which is raised."""
    alike: dict[tuple[str, bool], list[Statement]] = {}
    for statement in statements:
        alike.setdefault((statement.sql, statement.status), []).append(statement)
    found: list[tuple[Statement, Any]] = []
    for (sql, status), group in alike.items():
        verb = sql.split(None, 1)[0].upper()
        if len(group) == 1 or verb == "WITH" or (status and verb not in _VERBS):
            for each in group:
                ask = connection.execute if status else connection.fetch
                found.append((each, await ask(sql, *each.arguments)))
        else:
            found += await _together(connection, sql, group, verb if status else None)
    for statement, outcome in found:
        if not statement.outcome.done():  # its caller may have gone
            statement.outcome.set_result(outcome)


async def _together(
    connection: asyncpg.Connection, sql: str, group: Sequence[Statement], verb: str | None
) -> list[tuple[Statement, Any]]:
    number = f"${len(group[0].arguments) + 1}::int AS {_NUMBER}"
    inner, selected = (sql, f"s.*, {number}") if verb is None else (f"{sql} RETURNING 1", f"count(*), {number}")
    rows = await connection.fetchmany(
        f"WITH s AS ({inner}) SELECT {selected} FROM s",  # noqa: S608  a statement of ours within another
        [(*statement.arguments, place) for place, statement in enumerate(group)],
    )
    if verb is not None:
        prefix = "INSERT 0" if verb == "INSERT" else verb
        return [(group[row[_NUMBER]], f"{prefix} {row['count']}") for row in rows]
    of: list[list[Row]] = [[] for _ in group]
    for row in rows:
        of[row[_NUMBER]].append(Row(row))
    return list(zip(group, of, strict=True))
