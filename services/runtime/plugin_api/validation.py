"""``validation.check``: whether a document keeps to a JSON Schema that the plugin brings.

Both come from the plugin and are evaluated by the worker. Without references, each part of the schema meets each part
of the document at most once, so the product of their sizes bounds the work; and one thread does it, for all plugins.
"""

from typing import Any

import anyio
import anyio.to_thread

from outlet._rules.json_schema import UnusableSchema
from outlet._rules.validation import checking
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Group, method


class Check(Arguments):
    data: Any
    schema: dict[str, Any]


class Validation(Group):
    """JSON Schema, draft 2020-12."""

    @method("validation.check", Check)
    async def check(self, call: Check) -> list[tuple[str, str]]:
        """Path and message of each fault, 20 at most."""
        check = checking(call.data, call.schema)
        try:
            limiter = self.context.resources.validating
            return await anyio.to_thread.run_sync(check, limiter=limiter)
        except UnusableSchema as error:
            raise ApiRefusal("invalid_schema", str(error)) from error
        except ArithmeticError as error:
            raise ApiRefusal("invalid_value", f"a number is too large or too small to compare: {error!r}") from error
