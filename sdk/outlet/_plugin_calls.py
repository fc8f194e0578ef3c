"""Calls of other plugins' exported routes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec

from outlet import _json
from outlet._errors import ApiError


@dataclass(frozen=True, slots=True)
class PluginResponse:
    """What another plugin's route answered. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    def json(self) -> Any:
        """The body as JSON; a number with a fraction is a Decimal. Raises ValueError when it is none."""
        return _json.decode(self.body)


async def call_plugin(
    call: Callable[[str, dict[str, Any]], Awaitable[Any]],
    plugin_id: str,
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    json: Any,
) -> PluginResponse:
    """See :meth:`outlet.Api.call`."""
    arguments: dict[str, Any] = {
        "plugin": plugin_id,
        "method": method.upper(),
        "path": path,
        "query": urlencode(query or {}),
    }
    if json is not None:
        try:
            arguments |= {"body": msgspec.json.encode(json), "content_type": "application/json"}
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ApiError("invalid_argument", f"json: {error}") from error
    answer = await call("plugins.call", arguments)
    return PluginResponse(answer["status"], answer["headers"], answer["body"])
