"""Which handler answers a path."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote

from outlet.manifest import Method

Found = TypeVar("Found")

_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class RouteNotFound(Exception):
    """No route has this path."""


class MethodNotAllowed(Exception):
    """Routes have this path, but not this method; ``allowed`` lists theirs."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"allowed here: {', '.join(allowed)}")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class _Path(Generic[Found]):
    pattern: re.Pattern[str]
    handlers: dict[str, Found]


class Router(Generic[Found]):
    """Finds handlers, or whatever stands for them, by method and path.

    Where two paths match, the one with literal segments first wins.
    """

    def __init__(self, handlers: Mapping[tuple[Method, str], Found]) -> None:
        by_path: dict[str, dict[str, Found]] = {}
        for (method, path), handler in handlers.items():
            by_path.setdefault(path, {})[method] = handler
        ordered = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
        self._paths = [_Path(_pattern(path), by_path[path]) for path in ordered]

    def match(self, method: str, path: str) -> tuple[Found, dict[str, str]]:
        """The handler and its decoded parameters. Raises :class:`RouteNotFound` or :class:`MethodNotAllowed`.

        A HEAD request is answered by the handler of GET.
        """
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for route in self._paths:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if wanted in route.handlers:
                return route.handlers[wanted], {name: unquote(value) for name, value in found.groupdict().items()}
            allowed |= route.handlers.keys()
        if allowed:
            raise MethodNotAllowed(tuple(sorted(allowed)))
        raise RouteNotFound(f"the plugin has no route {path}")


def _pattern(path: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(path)
    # split() alternates literal text and parameter names
    return re.compile("".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+)" for i, part in enumerate(parts)))
