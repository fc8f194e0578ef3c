"""JSON Schema (draft 2020-12) of third parties, evaluated in this process.

So a schema may not use what lets a few bytes of it cost unbounded time (references that recurse, regular expressions
that backtrack without end) or reach out (remote references).
"""

import re
from collections.abc import Collection, Hashable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from outlet._rules.patterns import MAX_TEXT, UnsafePattern, check_pattern

MAX_FAULTS = 20
MAX_MESSAGE = 500

_UNSUPPORTED = frozenset({"$ref", "$dynamicRef", "patternProperties", "unevaluatedItems", "unevaluatedProperties"})
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "default", "enum", "examples"})


class UnusableSchema(ValueError):
    """A schema that is none, or that is not safe to evaluate; the message says why."""


class Fault(NamedTuple):
    """Where a document breaks its schema (a JSON path) and how."""

    path: str
    message: str


def check_schema(schema: dict[str, Any]) -> None:
    """Refuse a schema that is none or is unsafe to evaluate. Raises :class:`UnusableSchema`."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UnusableSchema(f"{error.json_path}: {error.message[:MAX_MESSAGE]}") from None
    for part in parts(schema):
        unsupported = sorted(_UNSUPPORTED & part.keys())
        if unsupported:
            raise UnusableSchema(f"the keyword {unsupported[0]!r} is not supported")
        try:
            check_pattern(part.get("pattern", ""))
        except UnsafePattern as error:
            raise UnusableSchema(f"pattern: {error}") from None


def faults(document: Any, schema: dict[str, Any], secrets: Collection[str] = ()) -> list[Fault]:
    """What is wrong with a document by a schema that :func:`check_schema` let through; the first 20 at most.

    No message tells the value of a member that ``secrets`` names.
    """
    validator = _Validator(schema, registry=Registry())  # an empty registry fetches nothing
    found = islice(validator.iter_errors(document), MAX_FAULTS)
    hidden = {name: repr(value)[1:-1] for name in secrets if isinstance(value := document.get(name), str) and value}
    return [Fault(error.json_path, _message(error, hidden)[:MAX_MESSAGE]) for error in found]


def _message(error: ValidationError, hidden: dict[str, str]) -> str:
    """``hidden`` are values as messages quote them, by the names of their members."""
    within = error.absolute_path[0] if error.absolute_path else None
    if within in hidden or any(text in error.message for text in hidden.values()):
        return f"breaks {error.validator!r} of the schema; the value is not shown because it is a secret"
    return error.message


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and every schema within it, told apart from names of properties and from values."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, value in schema.items():
        if keyword in _VALUES:
            continue
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            nested = list(value.values())
        else:
            nested = value if isinstance(value, list) else [value]
        for part in nested:
            yield from parts(part)


def _matches(_: Validator, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if not isinstance(value, str):
        return
    if len(value) > MAX_TEXT:
        yield ValidationError(f"{value[:20]!r}... is longer than {MAX_TEXT} characters")
    elif not re.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _distinct(_: Validator, wanted: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    """The library compares every pair."""
    if wanted and isinstance(value, list) and len({_identity(item) for item in value}) < len(value):
        yield ValidationError("has items that are alike")


def _identity(value: Any) -> Hashable:
    if isinstance(value, dict):
        return frozenset((key, _identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(_identity(item) for item in value)
    return (isinstance(value, bool), value)  # 1 is 1.0, but not true


def _is_integer(_: Any, value: Any) -> bool:
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _matches, "uniqueItems": _distinct},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
