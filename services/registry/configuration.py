"""The configuration of installations, and the JSON Schema (draft 2020-12) that a plugin declares for it."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

import anyio.to_thread
import msgspec

from services.common.errors import Unprocessable
from services.common.json_schema import UnusableSchema, check_schema, faults, parts
from services.common.settings_schema import MAX_CONFIG_BYTES, config_faults
from services.registry.documents import UnfitDocument, check_document


class InvalidSettingsSchema(ValueError):
    """A settings schema that the platform cannot use; the message says why."""


def check_settings_schema(schema: dict[str, Any]) -> None:
    """Refuse a schema that is none, is unsafe to evaluate, or whose own defaults it does not allow.

    Raises :class:`InvalidSettingsSchema`.
    """
    try:
        check_schema(schema)
    except UnusableSchema as error:
        raise InvalidSettingsSchema(str(error)) from None
    if schema.get("type", "object") != "object":
        raise InvalidSettingsSchema("type: a configuration is an object")
    for part in parts(schema):
        if "default" in part and faults(part["default"], part):
            raise InvalidSettingsSchema(f"the default {part['default']!r} is not allowed by its own schema")


async def complete_config(
    config: dict[str, Any], schema: dict[str, Any], *, secrets: Collection[str] = (), sealed: Collection[str] = ()
) -> dict[str, Any]:
    """``config`` with the schema's defaults filled in, checked. ``sealed``: those of ``secrets`` that are sealed.

    Raises Unprocessable (``invalid_config``) with ``errors``: one ``{path, message}`` per fault, 20 at most.
    """
    try:
        check_document(config, limit=MAX_CONFIG_BYTES)
    except UnfitDocument as error:
        raise _invalid([{"path": "$", "message": f"The configuration {error}."}]) from None
    completed = with_defaults(config, schema)
    # In a thread: a large configuration against a large schema may take seconds, and others are being served.
    found = await anyio.to_thread.run_sync(lambda: config_faults(completed, schema, secrets=secrets, sealed=sealed))
    if found:
        raise _invalid([fault._asdict() for fault in found])
    return completed


def merge(present: Mapping[str, Any], base: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """``present`` with what ``result`` changed of ``base``: what others changed since then stays."""
    changed = {name: value for name, value in result.items() if name not in base or not same(base[name], value)}
    removed = base.keys() - result.keys()
    return {**{name: value for name, value in present.items() if name not in removed}, **changed}


def same(one: Any, other: Any) -> bool:
    """Unlike ``==``, this tells true from 1."""
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def _invalid(errors: list[dict[str, str]]) -> Unprocessable:
    return Unprocessable(
        "The configuration does not match the plugin's settings schema.", code="invalid_config", errors=errors
    )


def with_defaults(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the schema's defaults for what it does not name, at any depth."""
    completed = dict(config)
    for name, part in schema.get("properties", {}).items():
        if not isinstance(part, dict):
            continue
        if name not in completed and "default" in part:
            completed[name] = deepcopy(part["default"])
        if isinstance(completed.get(name), dict):
            completed[name] = with_defaults(completed[name], part)
    return completed
