"""Keyset pagination: an order that is total, and the place in it where a page ended."""

import base64
import binascii
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from services.runtime.plugin_api.entity_fields import EntityFields
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.where import Parameters

MAX_TERMS = 4


class Position(msgspec.Struct, array_like=True, frozen=True):
    """What a cursor holds: the query's order, and the keys of the last row as text."""

    order: str
    keys: list[str]


@dataclass(frozen=True, slots=True)
class Key:
    """One expression of an order; never NULL."""

    sql: str
    type: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A total order of entities: the asked terms, then store and id."""

    name: str
    keys: tuple[Key, ...]

    @classmethod
    def read(cls, fields: EntityFields, terms: list[str]) -> "Order":
        """The order of ``terms`` (``-path`` descends). Raises ApiRefusal.

        Numbers, decimal strings among them, come in their order, then times, then text by code point; what is absent
        comes last, or first when descending.
        """
        if len(terms) > MAX_TERMS:
            raise ApiRefusal("invalid_sort", f"at most {MAX_TERMS} fields can be sorted by")
        keys: list[Key] = []
        for term in terms:
            descending, field = term.startswith("-"), fields.find(term.removeprefix("-"))
            keys += [
                Key(f"({field.text} IS NULL)", "boolean", descending),
                Key(f"coalesce({field.number}, 'Infinity')", "numeric", descending),
                Key(f"coalesce({field.moment}, 'infinity')", "timestamptz", descending),
                Key(f"coalesce({field.text}, '') COLLATE \"C\"", "text", descending),
            ]
        descending = bool(keys) and keys[-1].descending
        keys += [Key(column, "text", descending) for column in ("store_id", "id")]
        return cls(f"{fields.entity} {' '.join(terms)}", tuple(keys))

    @property
    def by(self) -> str:
        """For ORDER BY."""
        return ", ".join(f"{key.sql}{' DESC' if key.descending else ''}" for key in self.keys)

    @property
    def selected(self) -> str:
        """The keys as text, to be selected as ``k0``, ``k1``, ..."""
        return ", ".join(f"({key.sql})::text AS k{number}" for number, key in enumerate(self.keys))

    def cursor(self, row: Any) -> str:
        """Where a page that ends with ``row`` is continued."""
        position = Position(self.name, [row[f"k{number}"] for number in range(len(self.keys))])
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")

    def after(self, cursor: str, parameters: Parameters) -> str:
        """The condition that a row comes after the cursor's. Raises ApiRefusal ``invalid_cursor``.

        A plugin may send anything: whatever it is, it is no more than a place in an order of the rows it may see.
        """
        try:
            data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            position = msgspec.msgpack.decode(data, type=Position)
        except (msgspec.DecodeError, binascii.Error, ValueError) as error:
            raise ApiRefusal("invalid_cursor", "this is no cursor of find") from error
        if position.order != self.name or len(position.keys) != len(self.keys) or "\0" in "".join(position.keys):
            raise ApiRefusal("invalid_cursor", "this cursor is of another query: repeat model and sort with it")
        places = [
            f"{parameters.add(text)}::text::{key.type}" for key, text in zip(self.keys, position.keys, strict=True)
        ]
        runs: list[tuple[str, str, str]] = []  # keys in the same direction compare as one row
        for descending, run in groupby(zip(self.keys, places, strict=True), lambda pair: pair[0].descending):
            left, right = zip(*((key.sql, place) for key, place in run), strict=True)
            runs.append((f"({', '.join(left)})", f"({', '.join(right)})", "<" if descending else ">"))
        choices = [
            " AND ".join([*(f"{left} = {right}" for left, right, _ in runs[:at]), f"{left} {sign} {right}"])
            for at, (left, right, sign) in enumerate(runs)
        ]
        return f"({' OR '.join(choices)})"
