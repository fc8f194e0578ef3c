"""Values of custom tables: what a plugin may send for each column type, and what it gets back."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

from outlet._rules.refusal import ApiRefusal

ColumnType = Literal["text", "integer", "decimal", "boolean", "timestamp", "json"]

INT64 = range(-(2**63), 2**63)


def to_sql(column: str, kind: ColumnType | Literal["id"], value: Any) -> Any:
    """``value`` as asyncpg takes it for a column of type ``kind``. Raises ApiRefusal naming the column."""
    if value is None:
        return None
    try:
        return _READERS[kind](value)
    except (ValueError, TypeError, InvalidOperation) as error:
        shown = repr(value)[:80]
        raise ApiRefusal("invalid_value", f"{column}: {shown} is not {_EXPECTED[kind]}") from error


def from_sql(value: Any) -> Any:
    """A value of a row as the plugin sees it: ids are text, everything else keeps its type."""
    return str(value) if isinstance(value, UUID) else value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in INT64:
        raise TypeError
    return value


def _decimal(value: Any) -> Decimal:
    # A float has lost the amount already: money comes as Decimal, text or a whole number.
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _timestamp(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise TypeError
    return moment


def _json(value: Any) -> str:
    text = json.dumps(value, allow_nan=False, default=str)
    if "\\u0000" in text:
        raise ValueError
    return text


def _id(value: Any) -> UUID:
    if not isinstance(value, str):
        raise TypeError
    return UUID(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "json": _json,
    "id": _id,
}
_EXPECTED = {
    "text": "text (without NUL)",
    "integer": "a whole number of 64 bits",
    "decimal": "a finite Decimal, whole number or number as text (never a float)",
    "boolean": "true or false",
    "timestamp": "a time with a time zone",
    "json": "a JSON value",
    "id": "an id of a row",
}
