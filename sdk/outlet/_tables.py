"""Custom tables: rows of the plugin's own, kept apart per installation by the platform."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Where = Mapping[str, Any]
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Table:
    """One custom table. Every row also has ``id`` (text) and ``created_at`` (datetime).

    ``where`` is ``{"field": value}`` or ``{"field": {"gte": value}}`` with eq, ne, lt, lte, gt, gte, in, contains;
    its entries must all hold; ``{"and": [...]}`` and ``{"or": [...]}`` combine filters. Decimals and datetimes keep
    their type both ways. Each method raises :class:`ApiError` when the platform refuses.
    """

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self._call = call

    async def find(
        self, where: Where | None = None, *, sort: Sequence[str] | None = None, limit: int = 100
    ) -> list[Row]:
        """Rows that match, ordered by the columns of ``sort`` (``-name`` descends), at most ``limit`` (1 to 1,000)."""
        return await self._ask("find", where=where, sort=list(sort or ()), limit=limit)  # type: ignore[no-any-return]

    async def find_one(self, where: Where) -> Row | None:
        """One row that matches, or None."""
        rows = await self.find(where, limit=1)
        return rows[0] if rows else None

    async def find_by_id(self, id: str) -> Row | None:  # noqa: A002  the column's name
        """The row with this ``id``, or None."""
        return await self.find_one({"id": id})

    async def create(self, values: Mapping[str, Any]) -> Row:
        """Insert one row and return it."""
        return await self._ask("create", values=values)  # type: ignore[no-any-return]

    async def update(
        self, where: Where, values: Mapping[str, Any] | None = None, *, increment: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Set ``values`` and add ``increment`` in the rows that match; returns them as they are now.

        Match and change are one atomic step: ``update({"points": {"gte": 5}}, increment={"points": -5})`` never
        overdraws.
        """
        return await self._ask(  # type: ignore[no-any-return]
            "update", where=where, values=values or {}, increment=increment or {}
        )

    async def upsert(
        self,
        key: Mapping[str, Any],
        values: Mapping[str, Any] | None = None,
        *,
        increment: Mapping[str, Any] | None = None,
    ) -> Row:
        """Insert the row of ``key`` or change it, atomically; returns it. ``key`` names a unique constraint's columns.

        An increment of a new row starts from the column's default.
        """
        return await self._ask("upsert", key=key, values=values or {}, increment=increment or {})  # type: ignore[no-any-return]

    async def delete(self, where: Where) -> int:
        """Delete the rows that match; returns how many there were."""
        return await self._ask("delete", where=where)  # type: ignore[no-any-return]

    async def aggregate(
        self,
        group_by: Sequence[str] = (),
        *,
        sum: Sequence[str] = (),  # noqa: A002  the names SQL gives them
        avg: Sequence[str] = (),
        min: Sequence[str] = (),  # noqa: A002
        max: Sequence[str] = (),  # noqa: A002
        where: Where | None = None,
    ) -> list[Row]:
        """One row per group: its ``group_by`` columns, ``count``, and ``sum_<column>``, ``avg_<column>``, ..."""
        asked = {"sum": list(sum), "avg": list(avg), "min": list(min), "max": list(max)}
        functions = {function: columns for function, columns in asked.items() if columns}
        return await self._ask(  # type: ignore[no-any-return]
            "aggregate", where=where, group_by=list(group_by), functions=functions
        )

    async def _ask(self, method: str, **arguments: Any) -> Any:
        return await self._call(f"tables.{method}", {"table": self.name, **arguments})
