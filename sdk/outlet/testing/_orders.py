"""The order of entities in ``find``, and the place in it where a page ended."""

import base64
import binascii
from datetime import datetime
from decimal import Decimal
from functools import total_ordering
from typing import Any

from outlet import _values
from outlet._rules.refusal import ApiRefusal
from outlet.testing._documents import Entity, Fields, Value, moment_of, number_of, text_of

MAX_TERMS = 4
MARK = "outlet.testing"


@total_ordering
class _Descending:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.value == other.value)

    def __lt__(self, other: "_Descending") -> bool:
        return bool(other.value < self.value)


class Order:
    """A total order: the asked terms (``-path`` descends), then store and id."""

    def __init__(self, fields: Fields, terms: list[str]) -> None:
        if len(terms) > MAX_TERMS:
            raise ApiRefusal("invalid_sort", f"at most {MAX_TERMS} fields can be sorted by")
        self._name = f"{fields.model} {' '.join(terms)}"
        self._terms: list[tuple[Value, bool]] = [
            (fields.find(term.removeprefix("-")), term.startswith("-")) for term in terms
        ]

    def keys(self, entity: Entity) -> list[Any]:
        """What places an entity."""
        values = [part for field, _ in self._terms for part in _parts(field(entity))]
        return [*values, entity.store, entity.id]

    def place(self, keys: list[Any]) -> tuple[Any, ...]:
        """Keys as something that compares in this order."""
        descending = [down for _, down in self._terms for _ in range(4)]
        last = bool(self._terms) and self._terms[-1][1]
        return tuple(
            _Descending(_comparable(key)) if down else _comparable(key)
            for key, down in zip(keys, [*descending, last, last], strict=True)
        )

    def cursor(self, entity: Entity) -> str:
        """Where a page that ends with ``entity`` is continued."""
        position = _values.encode([MARK, self._name, self.keys(entity)])
        return base64.urlsafe_b64encode(position).decode().rstrip("=")

    def after(self, cursor: str) -> tuple[Any, ...]:
        """The place that a cursor names. Raises ApiRefusal ``invalid_cursor``."""
        try:
            position = _values.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (_values.ValueRefused, binascii.Error, ValueError) as error:
            raise ApiRefusal("invalid_cursor", "this is no cursor of find") from error
        if not isinstance(position, list) or position[:1] != [MARK]:
            raise ApiRefusal("invalid_cursor", "this is no cursor of find")
        if position[1] != self._name:
            raise ApiRefusal("invalid_cursor", "this cursor is of another query: repeat model and sort with it")
        return self.place(position[2])


def _parts(value: Any) -> tuple[bool, Decimal | None, datetime | None, str]:
    """Numbers come first, then times, then text, then what is absent."""
    text = text_of(value)
    return text is None, number_of(value), moment_of(value), text or ""


def _comparable(key: Any) -> Any:
    """None stands for infinity: it comes after every number and every time."""
    return (key is None, 0 if key is None else key)
