"""The fields of an entity in filters, sorts and groups: dotted paths, compared by the value given."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from outlet._rules.personal_data import GRANTS, Hidden, kind_of_path
from outlet._rules.refusal import ApiRefusal
from outlet._rules.values import to_sql
from outlet.testing._filters import ORDERINGS, Test, identity

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_SEGMENTS = 8
NUMBER = re.compile(r"[+-]?[0-9]{1,100}([.][0-9]{1,100})?")
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
)
ABSENT: Any = object()


class Entity(NamedTuple):
    """An entity as it is stored: everything, also what a plugin may not see."""

    store: str
    id: str
    document: dict[str, Any]


Value = Callable[[Entity], Any]


class Fields:
    """The fields of one kind of entity that an installation may name; ``hidden`` people's data is not among them."""

    def __init__(self, model: str, hidden: Hidden) -> None:
        self.model = model
        self.hidden = hidden

    def find(self, name: Any) -> Value:
        """What is at a dotted path, ABSENT where there is nothing. Raises ApiRefusal."""
        path = name.split(".") if isinstance(name, str) else []
        if not 1 <= len(path) <= MAX_SEGMENTS or not all(SEGMENT.fullmatch(part) for part in path):
            detail = f"{name!r:.80} is no path such as customerId, totals.total or lines.0.sku"
            raise ApiRefusal("unknown_field", detail)
        if name == "id":
            return lambda entity: entity.id
        if name == "storeId":
            return lambda entity: entity.store
        kind = kind_of_path(self.model, path)
        if kind is not None and kind in self.hidden:
            raise ApiRefusal("permission_denied", f"{name} is personal data: {GRANTS[kind]} is needed to use it")
        return lambda entity: _at(entity.document, path)

    def compare(self, name: Any, operation: Any, value: Any) -> Test:
        """One comparison of a filter."""
        field = self.find(name)
        if operation in ("eq", "ne") and value is None:
            return lambda entity: (field(entity) in (None, ABSENT)) == (operation == "eq")
        if operation in ("eq", "ne"):
            same = _equal(name, value)
            return lambda entity: same(field(entity)) == (operation == "eq")
        if operation in ORDERINGS and not isinstance(value, bool):
            read, given = _typed(name, value)
            holds = ORDERINGS[operation]
            return lambda entity: (found := read(field(entity))) is not None and holds(found, given)
        if operation == "in" and isinstance(value, list):
            tests = [_equal(name, item) for item in value]
            return lambda entity: any(test(field(entity)) for test in tests)
        if operation == "contains":
            test = _contains(name, value)
            return lambda entity: test(field(entity))
        raise ApiRefusal(
            "invalid_filter",
            f"{name}: {operation!r:.40} with {value!r:.80} is no comparison "
            "(eq, ne, lt, lte, gt, gte, in [list], contains)",
        )


def text_of(value: Any) -> str | None:
    """A scalar as text; None for everything else."""
    if value is ABSENT or value is None or isinstance(value, dict | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def number_of(value: Any) -> Decimal | None:
    """A number, or a decimal string, as a number; None for everything else."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and NUMBER.fullmatch(value) else None


def moment_of(value: Any) -> datetime | None:
    """An RFC 3339 time; None for everything else, also for what only looks like one."""
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None


def _at(document: Any, path: list[str]) -> Any:
    found = document
    for part in path:
        if isinstance(found, dict):
            found = found.get(part, ABSENT)
        elif isinstance(found, list) and part.lstrip("-").isdigit() and -len(found) <= int(part) < len(found):
            found = found[int(part)]
        else:
            return ABSENT
    return found


def _equal(name: str, value: Any) -> Callable[[Any], bool]:
    if value is None or isinstance(value, bool):
        return lambda found: found is value
    read, given = _typed(name, value)
    return lambda found: read(found) == given


def _contains(name: str, value: Any) -> Callable[[Any], bool]:
    """A text that has this in it, in any case; or a list with this among its members."""

    def member(found: Any) -> bool:
        return isinstance(found, list) and wanted in map(identity, found)

    if isinstance(value, bool):
        wanted = identity(value)
        return member
    read, given = _typed(name, value)
    wanted = identity(given)
    if read is moment_of:
        raise ApiRefusal("invalid_filter", f"{name}: contains takes text, a number or a boolean")
    if read is number_of:
        return member
    return lambda found: member(found) or ((text := text_of(found)) is not None and given.lower() in text.lower())


def _typed(name: str, value: Any) -> tuple[Callable[[Any], Any], Any]:
    """How a value is compared with, and as what. Raises ApiRefusal for what is no scalar."""
    if isinstance(value, str):
        return text_of, to_sql(name, "text", value)
    if isinstance(value, int | float | Decimal):
        return number_of, to_sql(name, "decimal", repr(value) if isinstance(value, float) else value)
    if isinstance(value, datetime):
        return moment_of, to_sql(name, "timestamp", value)
    raise ApiRefusal("invalid_filter", f"{name}: {value!r:.80} is no text, number, boolean or moment")
