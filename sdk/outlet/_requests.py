"""What a route is called with, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlet import _json
from outlet._errors import InvalidBody


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a route is called, from the verified token.

    ``store`` is None for somebody of the whole organization; ``role`` is owner, admin, manager or cashier. For another
    plugin that calls an exported route, ``role`` is ``plugin`` and ``subject`` is ``plugin:<its id>``.
    """

    subject: str
    role: str
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to a route of the plugin.

    ``path`` is below ``/api/plugins/{pluginId}/api``; ``params`` are the decoded ``{name}`` segments; ``query`` has the
    last value of each name; the names of ``headers`` are in lower case.
    """

    method: str
    path: str
    caller: Caller
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; a number with a fraction is a Decimal.

        Raises a :class:`Problem` 400 ``invalid_json`` (also a ValueError) when it is none.
        """
        try:
            return _json.decode(self.body)
        except ValueError as error:
            raise InvalidBody(f"The body must be JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Response:
    """What a route answers. ``body``: bytes as they are, str as text, None as nothing, anything else as JSON."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
