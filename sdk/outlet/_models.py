"""The stores' entities: ``api.models.Product.find({"category": "tea"})``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from outlet._tables import Call, Where

Entity = dict[str, Any]


class Page(list[Entity]):
    """Entities in order. ``cursor`` asks for what follows, and is None when nothing does."""

    def __init__(self, entities: Iterable[Entity] = (), cursor: str | None = None) -> None:
        super().__init__(entities)
        self.cursor = cursor


class Model:
    """One kind of entity, within the plugin's organization (and its store, when it is installed in one only).

    An entity is the JSON document that the point of sale publishes, with ``id`` and ``storeId``. Amounts are decimal
    strings; a number with a fraction is a Decimal. Each verb needs its permission (``product:read``, ...), and what is
    personal of customers and employees is absent without ``customer:personal-data`` and ``employee:personal-data``.

    ``where`` is ``{"path": value}`` or ``{"path": {"gte": value}}`` with eq, ne, lt, lte, gt, gte, in, contains; its
    entries must all hold; ``{"and": [...]}`` and ``{"or": [...]}`` combine filters. A path is dotted
    (``totals.total``, ``lines.0.sku``). The value decides how they compare: a number with numbers and decimal strings,
    an aware datetime with RFC 3339 times, text with text. Each method raises :class:`ApiError` when the platform
    refuses.
    """

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self._call = call

    async def find(
        self,
        where: Where | None = None,
        *,
        sort: Sequence[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Entities that match, ordered by the paths of ``sort`` (``-path`` descends), at most ``limit`` (1 to 1,000).

        A page of large entities ends before its limit. Pass its ``cursor`` with the same arguments for the next page.
        """
        answer = await self._ask("find", where=where, sort=list(sort or ()), limit=limit, cursor=cursor)
        return Page(answer["items"], answer["cursor"])

    async def find_one(self, where: Where | None = None, *, sort: Sequence[str] | None = None) -> Entity | None:
        """The first entity that matches, or None."""
        page = await self.find(where, sort=sort, limit=1)
        return page[0] if page else None

    async def find_by_id(self, id: str, *, store: str | None = None) -> Entity | None:  # noqa: A002  the member's name
        """The entity with this ``id``, or None.

        Without ``store``: the one of the store that the call is from, else of the only store that has it; several
        others are an :class:`ApiError` (``ambiguous_id``).
        """
        return await self._ask("get", id=id, store=store)  # type: ignore[no-any-return]

    async def create(self, values: Mapping[str, Any], *, store: str | None = None) -> Entity:
        """Add an entity, in ``store`` or the store that the call is from, and publish ``<model>.created``.

        It gets an ``id`` unless ``values`` has one. Decimals become decimal strings, datetimes RFC 3339 times.
        """
        return await self._ask("create", values=dict(values), store=store)  # type: ignore[no-any-return]

    async def update(
        self,
        id: str,  # noqa: A002  the member's name
        values: Mapping[str, Any],
        *,
        store: str | None = None,
    ) -> Entity | None:
        """Change an entity and publish ``<model>.updated``; returns it as it is now, None when there is none.

        Objects are merged member by member, everything else is replaced.
        """
        return await self._ask("update", id=id, values=dict(values), store=store)  # type: ignore[no-any-return]

    async def delete(self, id: str, *, store: str | None = None) -> bool:  # noqa: A002  the member's name
        """Remove an entity and publish ``<model>.deleted``; whether there was one."""
        return await self._ask("delete", id=id, store=store)  # type: ignore[no-any-return]

    async def aggregate(
        self,
        group_by: Sequence[str] = (),
        *,
        sum: Sequence[str] = (),  # noqa: A002  the names SQL gives them
        avg: Sequence[str] = (),
        min: Sequence[str] = (),  # noqa: A002
        max: Sequence[str] = (),  # noqa: A002
        where: Where | None = None,
    ) -> list[Entity]:
        """One row per group: its ``group_by`` paths, ``count``, and ``sum_<path>``, ``avg_<path>``, ... as Decimals.

        The functions take numbers and decimal strings into account, exactly, and nothing else.
        """
        asked = {"sum": list(sum), "avg": list(avg), "min": list(min), "max": list(max)}
        functions = {function: paths for function, paths in asked.items() if paths}
        return await self._ask(  # type: ignore[no-any-return]
            "aggregate", where=where, group_by=list(group_by), functions=functions
        )

    async def _ask(self, method: str, **arguments: Any) -> Any:
        return await self._call(f"models.{method}", {"model": self.name, **arguments})


class Models:
    """What the stores' systems publish, kept for plugins to query."""

    def __init__(self, call: Call) -> None:
        self.Sale = Model("sale", call)
        self.Product = Model("product", call)
        self.Customer = Model("customer", call)
        self.Employee = Model("employee", call)
        self.Store = Model("store", call)
