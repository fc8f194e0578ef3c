"""The fields of an entity in filters, sorts and groups: dotted paths into its JSON, compared by the value given.

The documents are the point of sale's own, so nothing says what type a member has. What a filter compares with decides:
a number compares with numbers and with decimal strings (``"12.90"``), a moment with RFC 3339 times, text with text. A
value of another type does not match, and is not an error.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from services.runtime.commerce.personal_data import GRANTS, Hidden, Kind, kind_of_path
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.values import to_sql
from services.runtime.plugin_api.where import COMPARISONS, Parameters

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_SEGMENTS = 8
IDENTITY = {"id": "id", "storeId": "store_id"}
"""The members that are the row's own, whatever the document says, with their columns."""

Type = Literal["text", "decimal", "timestamp"]
_CASTS: dict[Type, str] = {"text": "text", "decimal": "numeric", "timestamp": "timestamptz"}


@dataclass(frozen=True, slots=True)
class EntityField:
    """SQL expressions for one field. ``value`` is jsonb; the others are NULL where it has no such value."""

    value: str
    text: str

    @property
    def number(self) -> str:
        return f"outlet_number({self.value})"

    @property
    def moment(self) -> str:
        return f"outlet_moment({self.value})"

    @property
    def scalar(self) -> str:
        """Its value with its type, to group by; absent, null and containers are one."""
        return f"CASE WHEN {self.text} IS NOT NULL THEN {self.value} END"

    def typed(self, kind: Type) -> str:
        return {"text": self.text, "decimal": self.number, "timestamp": self.moment}[kind]


@dataclass(frozen=True, slots=True)
class EntityFields:
    """The fields of one kind of entity that an installation may name; ``hidden`` people's data is not among them.

    ``used`` are the kinds of people whose data was named.
    """

    entity: str
    hidden: Hidden
    used: set[Kind] = field(default_factory=set)

    def find(self, name: Any) -> EntityField:
        """The field at a dotted path. Raises ApiRefusal ``unknown_field`` or ``permission_denied``."""
        path = name.split(".") if isinstance(name, str) else []
        if not 1 <= len(path) <= MAX_SEGMENTS or not all(SEGMENT.fullmatch(part) for part in path):
            raise ApiRefusal(
                "unknown_field", f"{name!r:.80} is no path such as customerId, totals.total or lines.0.sku"
            )
        if name in IDENTITY:
            return EntityField(f"to_jsonb({IDENTITY[name]})", IDENTITY[name])
        kind = kind_of_path(self.entity, path)
        if kind in self.hidden:
            raise ApiRefusal("permission_denied", f"{name} is personal data: {GRANTS[kind]} is needed to use it")
        if kind is not None:
            self.used.add(kind)
        value = "(data #> '{" + ",".join(f'"{part}"' for part in path) + "}')"  # of SEGMENT's characters only
        return EntityField(value, f"outlet_text({value})")

    def compare(self, name: Any, operation: Any, value: Any, parameters: Parameters) -> str:
        """One comparison of a filter as SQL (:data:`~.where.Comparison`)."""
        field = self.find(name)
        if operation == "eq" and value is None:
            return f"coalesce(jsonb_typeof({field.value}), 'null') = 'null'"
        if operation == "ne" and value is None:
            return f"coalesce(jsonb_typeof({field.value}), 'null') <> 'null'"
        if operation in ("eq", "ne"):
            sign = "=" if operation == "eq" else "IS DISTINCT FROM"
            return _compared(name, field, sign, value, parameters)
        if operation in COMPARISONS and not isinstance(value, bool):
            return _compared(name, field, COMPARISONS[operation], value, parameters)
        if operation == "in" and isinstance(value, list):
            return _among(name, field, value, parameters)
        if operation == "contains":
            return _containing(name, field, value, parameters)
        raise ApiRefusal(
            "invalid_filter",
            f"{name}: {operation!r:.40} with {value!r:.80} is no comparison "
            "(eq, ne, lt, lte, gt, gte, in [list], contains)",
        )


def _compared(name: str, field: EntityField, sign: str, value: Any, parameters: Parameters) -> str:
    if isinstance(value, bool):
        return f"{field.value} {sign} '{str(value).lower()}'::jsonb"
    kind, given = _typed(name, value)
    collation = ' COLLATE "C"' if kind == "text" and sign in COMPARISONS.values() else ""
    return f"{field.typed(kind)}{collation} {sign} {parameters.add(given)}::{_CASTS[kind]}"


def _among(name: str, field: EntityField, values: list[Any], parameters: Parameters) -> str:
    by_type: dict[Type, list[Any]] = {}
    parts: list[str] = []
    for value in values:
        if value is None or isinstance(value, bool):
            parts.append(f"{field.value} = '{'null' if value is None else str(value).lower()}'::jsonb")
            continue
        kind, given = _typed(name, value)
        by_type.setdefault(kind, []).append(given)
    for kind, given in by_type.items():
        parts.append(f"{field.typed(kind)} = ANY({parameters.add(given)}::{_CASTS[kind]}[])")
    return f"({' OR '.join(dict.fromkeys(parts))})" if parts else "FALSE"


def _containing(name: str, field: EntityField, value: Any, parameters: Parameters) -> str:
    """A text that has this in it, in any case; or a list with this among its members."""
    if isinstance(value, bool):
        return f"(jsonb_typeof({field.value}) = 'array' AND {field.value} @> '{str(value).lower()}'::jsonb)"
    kind, given = _typed(name, value)
    place = f"{parameters.add(given)}::{_CASTS[kind]}"
    if kind == "timestamp":
        raise ApiRefusal("invalid_filter", f"{name}: contains takes text, a number or a boolean")
    member = f"(jsonb_typeof({field.value}) = 'array' AND {field.value} @> to_jsonb({place}))"
    return f"(strpos(lower({field.text}), lower({place})) > 0 OR {member})" if kind == "text" else member


def _typed(name: str, value: Any) -> tuple[Type, Any]:
    """How a value compares, and the value as asyncpg takes it. Raises ApiRefusal for what is no scalar."""
    if isinstance(value, str):
        return "text", to_sql(name, "text", value)
    if isinstance(value, int | float | Decimal):
        return "decimal", to_sql(name, "decimal", repr(value) if isinstance(value, float) else value)
    if isinstance(value, datetime):
        return "timestamp", to_sql(name, "timestamp", value)
    raise ApiRefusal("invalid_filter", f"{name}: {value!r:.80} is no text, number, boolean or moment")
