"""``validation.check``: whether a document keeps to a JSON Schema that the plugin brings.

Both come from the plugin and are evaluated by the worker. Without references, each part of the schema meets each part
of the document at most once, so the product of their sizes bounds the work; and one thread does it, for all plugins.
"""

from typing import Any

import anyio
import anyio.to_thread

from services.common.json_schema import UnusableSchema, check_schema, faults
from services.runtime.plugin_api.documents import decode_document, encode_document
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Group, method

MAX_SCHEMA_BYTES = 16 * 1024
MAX_DATA_BYTES = 64 * 1024
MAX_WORK = 100_000
TEXT_SHARE = 64
"""So many bytes of text count as one part: faults quote them."""


class Check(Arguments):
    data: Any
    schema: dict[str, Any]


class Validation(Group):
    """JSON Schema, draft 2020-12."""

    @method("validation.check", Check)
    async def check(self, call: Check) -> list[tuple[str, str]]:
        """Path and message of each fault, 20 at most."""
        schema_text = encode_document(call.schema, limit=MAX_SCHEMA_BYTES)
        data_text = encode_document(call.data, limit=MAX_DATA_BYTES)
        schema, data = decode_document(schema_text), decode_document(data_text)
        check_work(schema, data, data_text)
        try:
            limiter = self.context.resources.validating
            return await anyio.to_thread.run_sync(_check, data, schema, limiter=limiter)
        except UnusableSchema as error:
            raise ApiRefusal("invalid_schema", str(error)) from error
        except ArithmeticError as error:
            raise ApiRefusal("invalid_value", f"a number is too large or too small to compare: {error!r}") from error


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
