"""Statements on the replica of the stores' entities, each bound to one scope by the host."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.runtime.commerce.personal_data import GRANTS, redact
from services.runtime.isolation import Scope
from services.runtime.plugin_api import scoping
from services.runtime.plugin_api.cursors import Order
from services.runtime.plugin_api.documents import decode_document
from services.runtime.plugin_api.entity_fields import EntityFields
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.reach import Reach
from services.runtime.plugin_api.tables import MAX_ROWS, checked
from services.runtime.plugin_api.where import Parameters, condition

ANSWER_BYTES = 160 * 1024
"""A page ends here, whatever its limit: it has to fit in one frame."""
AGGREGATES = ("sum", "avg", "min", "max")

_NEVER_BACK = "greatest(clock_timestamp(), known.occurred_at + interval '1 microsecond')"


@dataclass(frozen=True, slots=True)
class Stored:
    """An entity as it is stored: everything, also what a plugin may not see."""

    store: str
    id: str
    document: dict[str, Any]


class Entities:
    """One kind of entity as one installation may see it."""

    def __init__(
        self, connection: asyncpg.Connection, fields: EntityFields, scope: Scope, reach: Reach, grant: str
    ) -> None:
        """``grant`` is what the call needs in every store that it reaches."""
        self._connection = connection
        self._fields = fields
        self._scope = scope
        self._reach = reach
        self._grant = grant
        self._table = f'"{fields.entity}"'

    async def find(
        self, where: Any, sort: list[str], limit: int, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Entities that match, in order, and the cursor of what follows them, None when nothing does."""
        if not 1 <= limit <= MAX_ROWS:
            raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_ROWS}")
        order = Order.read(self._fields, sort)
        scope, parameters = self._matching(where)
        if cursor is not None:
            scope += f" AND {order.after(cursor, parameters)}"
        sql = (
            f"SELECT store_id, id, data, {order.selected} FROM {self._table} "  # noqa: S608
            f"WHERE {scope} ORDER BY {order.by} LIMIT {limit + 1}"
        )
        rows = await checked(self._connection.fetch(sql, *parameters.values))
        page, size = 0, 0
        while page < min(len(rows), limit) and (page == 0 or size + len(rows[page]["data"]) <= ANSWER_BYTES):
            size += len(rows[page]["data"])
            page += 1
        entities = [self.visible(_stored(row)) for row in rows[:page]]
        return entities, order.cursor(rows[page - 1]) if page < len(rows) else None

    async def aggregate(self, where: Any, group_by: list[str], functions: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Groups with their ``count`` and, for each asked function and field, ``<function>_<field>``."""
        names, selected = list(group_by), [self._fields.find(name).scalar for name in group_by]
        for function, asked in functions.items():
            if function not in AGGREGATES:
                raise ApiRefusal("invalid_aggregate", f"{function!r} is none of {', '.join(AGGREGATES)}")
            for name in asked:
                names.append(f"{function}_{name}")
                selected.append(f"{function}({self._fields.find(name).number})")
        scope, parameters = self._matching(where)
        places = ", ".join(str(number + 2) for number in range(len(group_by)))
        grouping = f" GROUP BY {places} ORDER BY {places}" if group_by else ""
        sql = (
            f"SELECT {', '.join(['count(*)', *selected])} FROM {self._table} "  # noqa: S608
            f"WHERE {scope}{grouping} LIMIT {MAX_ROWS}"
        )
        groups = []
        for count, *values in await checked(self._connection.fetch(sql, *parameters.values)):
            keys = [None if text is None else decode_document(text) for text in values[: len(group_by)]]
            groups.append(dict(zip(names, [*keys, *values[len(group_by) :]], strict=True)) | {"count": count})
        return groups

    async def locate(self, entity_id: str, store: str | None, home: str | None, *, lock: bool) -> Stored | None:
        """The entity with an id: in ``store``; else in ``home``; else in the only store that has one.

        Raises ApiRefusal ``ambiguous_id`` when several other stores do.
        """
        parameters = Parameters()
        scope = f"{self._rows(parameters)} AND id = {parameters.add(entity_id)}"
        if store is not None:
            scope += f" AND store_id = {parameters.add(store)}"
        places = await checked(
            self._connection.fetch(
                f"SELECT store_id FROM {self._table} WHERE {scope} AND data IS NOT NULL",  # noqa: S608
                *parameters.values,
            )
        )
        stores = [row["store_id"] for row in places]
        if len(stores) > 1 and home not in stores:
            raise ApiRefusal("ambiguous_id", f"{len(stores)} stores have {entity_id!r:.80}: say which with store")
        if not stores:
            return None
        place = home if home in stores else stores[0]
        scope += f" AND store_id = {parameters.add(place)}"
        row = await self._connection.fetchrow(
            f"SELECT store_id, id, data FROM {self._table} WHERE {scope} AND data IS NOT NULL"  # noqa: S608
            f"{' FOR UPDATE' if lock else ''}",
            *parameters.values,
        )
        return None if row is None else _stored(row)

    async def insert(self, store: str, entity_id: str, text: str) -> datetime:
        """Write a new entity; when it happened. Raises ApiRefusal ``unique_violation`` when there is one."""
        moment: datetime | None = await checked(
            self._connection.fetchval(
                f"INSERT INTO {self._table} AS known (organization_id, store_id, id, data, occurred_at) "  # noqa: S608
                "VALUES ($1, $2, $3, $4::jsonb, clock_timestamp()) ON CONFLICT (organization_id, store_id, id) "
                f"DO UPDATE SET data = excluded.data, occurred_at = {_NEVER_BACK} WHERE known.data IS NULL "
                "RETURNING occurred_at",
                self._scope.organization,
                store,
                entity_id,
                text,
            )
        )
        if moment is None:
            raise ApiRefusal("unique_violation", f"there is a {self._fields.entity} {entity_id!r:.80} already")
        return moment

    async def replace(self, stored: Stored, text: str | None) -> datetime:
        """Write a locked entity anew, or as deleted when ``text`` is None; when it happened.

        That is after everything that is known of it, also when the clock of a till is ahead: a change is never older
        than what it changes.
        """
        parameters = Parameters()
        scope = scoping.entity_rows(self._scope, parameters)
        place, entity_id, data = (parameters.add(value) for value in (stored.store, stored.id, text))
        moment: datetime = await checked(
            self._connection.fetchval(
                f"UPDATE {self._table} AS known SET data = {data}::jsonb, occurred_at = {_NEVER_BACK} "  # noqa: S608
                f"WHERE {scope} AND store_id = {place} AND id = {entity_id} RETURNING occurred_at",
                *parameters.values,
            )
        )
        return moment

    def visible(self, stored: Stored) -> dict[str, Any]:
        """An entity as the installation may see it, with the id and the store that are the row's."""
        redact(self._fields.entity, stored.document, self._reach.hidden_in(stored.store))
        return {**stored.document, "id": stored.id, "storeId": stored.store}

    def _matching(self, where: Any) -> tuple[str, Parameters]:
        parameters = Parameters()
        asked = condition(self._fields.compare, where or {}, parameters)
        return f"{self._rows(parameters)} AND data IS NOT NULL AND {asked}", parameters

    def _rows(self, parameters: Parameters) -> str:
        """Those of the stores that grant what the call needs, and the personal data that it has named so far."""
        grants = [self._grant, *(GRANTS[kind] for kind in sorted(self._fields.used))]
        return f"{scoping.entity_rows(self._scope, parameters)}{self._reach.rows(grants, parameters)}"


def _stored(row: asyncpg.Record) -> Stored:
    try:
        document = decode_document(row["data"])
    except RecursionError as error:
        raise ApiRefusal("answer_too_large", f"{row['id']!r:.80} is nested too deep to be read") from error
    return Stored(row["store_id"], row["id"], document if isinstance(document, dict) else {})
