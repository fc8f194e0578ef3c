"""How a plugin's values become a part of the stores' documents."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from outlet._rules.documents import MAX_DEPTH
from outlet._rules.refusal import ApiRefusal


def plain(values: Any, depth: int = MAX_DEPTH) -> Any:
    """What a plugin sent, as the stores' documents have it: amounts are decimal strings, moments RFC 3339."""
    if depth == 0:
        raise ApiRefusal("invalid_value", f"values are nested at most {MAX_DEPTH} deep")
    if isinstance(values, dict):
        return {key: plain(value, depth - 1) for key, value in values.items()}
    if isinstance(values, list):
        return [plain(value, depth - 1) for value in values]
    if isinstance(values, Decimal):
        return f"{values:f}"
    if isinstance(values, datetime):
        return values.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return values


def merged(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``document`` with ``values`` in it: objects are merged member by member, everything else is replaced."""
    result = dict(document)
    for name, value in values.items():
        known = result.get(name)
        result[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
