"""The configuration of installations, and the JSON Schema (draft 2020-12) that a plugin declares for it.

Schemas come from third parties and are evaluated in this process. So they may not use what lets a few bytes of schema
cost unbounded time (references that recurse, regular expressions that backtrack without end) or reach out (remote
references).
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import islice
from typing import Any

import anyio.to_thread
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from services.common.errors import Unprocessable
from services.registry.documents import UnfitDocument, check_document
from services.registry.patterns import MAX_TEXT, UnsafePattern, check_pattern

MAX_CONFIG_BYTES = 64 * 1024
MAX_ERRORS = 20

_UNSUPPORTED = frozenset({"$ref", "$dynamicRef", "patternProperties"})
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "default", "enum", "examples"})


class InvalidSettingsSchema(ValueError):
    """A settings schema that the platform cannot use; the message says why."""


def check_settings_schema(schema: dict[str, Any]) -> None:
    """Refuse a schema that is none, is unsafe to evaluate, or whose own defaults it does not allow.

    Raises :class:`InvalidSettingsSchema`.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidSettingsSchema(f"{error.json_path}: {error.message}") from None
    if schema.get("type", "object") != "object":
        raise InvalidSettingsSchema("type: a configuration is an object")
    for part in _parts(schema):
        unsupported = sorted(_UNSUPPORTED & part.keys())
        if unsupported:
            raise InvalidSettingsSchema(f"the keyword {unsupported[0]!r} is not supported")
        try:
            check_pattern(part.get("pattern", ""))
        except UnsafePattern as error:
            raise InvalidSettingsSchema(f"pattern: {error}") from None
    for part in _parts(schema):
        if "default" in part and not _validator(part).is_valid(part["default"]):
            raise InvalidSettingsSchema(f"the default {part['default']!r} is not allowed by its own schema")


async def complete_config(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the schema's defaults filled in, checked.

    Raises Unprocessable (``invalid_config``) with ``errors``: one ``{path, message}`` per fault, 20 at most.
    """
    try:
        check_document(config, limit=MAX_CONFIG_BYTES)
    except UnfitDocument as error:
        raise _invalid([{"path": "$", "message": f"The configuration {error}."}]) from None
    completed = _with_defaults(config, schema)
    # In a thread: a large configuration against a large schema may take seconds, and others are being served.
    errors = await anyio.to_thread.run_sync(_errors, completed, schema)
    if errors:
        raise _invalid(errors)
    return completed


def _invalid(errors: list[dict[str, str]]) -> Unprocessable:
    return Unprocessable(
        "The configuration does not match the plugin's settings schema.", code="invalid_config", errors=errors
    )


def _errors(config: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, str]]:
    found = islice(_validator(schema).iter_errors(config), MAX_ERRORS)
    return [{"path": error.json_path, "message": error.message[:500]} for error in found]


def _matches(_: Validator, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if not isinstance(value, str):
        return
    if len(value) > MAX_TEXT:
        yield ValidationError(f"{value[:20]!r}... is longer than {MAX_TEXT} characters")
    elif not re.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_SettingsValidator: type[Validator] = extend(Draft202012Validator, {"pattern": _matches})  # type: ignore[no-untyped-call]


def _validator(schema: dict[str, Any]) -> Validator:
    return _SettingsValidator(schema, registry=Registry())  # an empty registry fetches nothing


def _with_defaults(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    completed = dict(config)
    for name, part in schema.get("properties", {}).items():
        if not isinstance(part, dict):
            continue
        if name not in completed and "default" in part:
            completed[name] = deepcopy(part["default"])
        if isinstance(completed.get(name), dict):
            completed[name] = _with_defaults(completed[name], part)
    return completed


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and every schema within it, told apart from names of settings and from values."""
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
            yield from _parts(part)
