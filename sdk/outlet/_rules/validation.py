"""Whether a document keeps to a JSON Schema that a plugin brings, within bounds.

Without references, each part of the schema meets each part of the document at most once, so the product of their sizes
bounds the work.
"""

from collections.abc import Callable
from typing import Any

from outlet._rules.documents import decode_document, encode_document
from outlet._rules.json_schema import check_schema, faults
from outlet._rules.refusal import ApiRefusal

MAX_SCHEMA_BYTES = 16 * 1024
MAX_DATA_BYTES = 64 * 1024
MAX_WORK = 100_000
TEXT_SHARE = 64
"""So many bytes of text count as one part: faults quote them."""


def checking(data: Any, schema: dict[str, Any]) -> Callable[[], list[tuple[str, str]]]:
    """What finds the faults (path and message, 20 at most), once the sizes are known to be bearable.

    Raises ApiRefusal; the function raises UnusableSchema, or ArithmeticError for a number that cannot be compared.
    """
    schema_text = encode_document(schema, limit=MAX_SCHEMA_BYTES)
    data_text = encode_document(data, limit=MAX_DATA_BYTES)
    given_schema, given = decode_document(schema_text), decode_document(data_text)
    check_work(given_schema, given, data_text)
    return lambda: _check(given, given_schema)


def check_work(schema: Any, data: Any, data_text: str) -> None:
    """Refuse what would take this process too long. ``data_text`` is the data as JSON. Raises ApiRefusal."""
    if _parts(schema) * (_parts(data) + len(data_text) // TEXT_SHARE) > MAX_WORK:
        raise ApiRefusal("too_much_to_validate", "schema and data together are too large: validate in parts")


def _check(data: Any, schema: dict[str, Any]) -> list[tuple[str, str]]:
    check_schema(schema)
    return [(fault.path, fault.message) for fault in faults(data, schema)]


def _parts(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_parts, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_parts, value))
    return 1
