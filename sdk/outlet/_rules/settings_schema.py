"""A configuration against the settings schema of its plugin, where secret settings may be sealed."""

from collections.abc import Collection
from typing import Any

from outlet._rules.json_schema import Fault, faults

MAX_CONFIG_BYTES = 64 * 1024


def config_faults(
    config: dict[str, Any], schema: dict[str, Any], *, secrets: Collection[str], sealed: Collection[str]
) -> list[Fault]:
    """What is wrong with a configuration; no message tells a secret.

    ``sealed`` are those of ``secrets`` whose values are sealed: they were checked when they were, and only count as
    present.
    """
    return faults(config, _without(schema, sealed), secrets)


def _without(schema: dict[str, Any], sealed: Collection[str]) -> dict[str, Any]:
    if not sealed:
        return schema
    parts = {name: {} if name in sealed else part for name, part in schema.get("properties", {}).items()}
    return {**schema, "properties": parts}
