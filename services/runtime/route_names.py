"""The name that a call of a route is counted under: the declared route, never the path of one request."""

from functools import lru_cache

from outlet._guest.routing import MethodNotAllowed, RouteNotFound, Router
from outlet.manifest import RouteDeclaration

UNDECLARED = "ANY /*"
"""Counts what no declared route answers, however many paths are tried."""


def route_name(routes: tuple[RouteDeclaration, ...], target: str) -> str:
    """``GET /points/{customer_id}`` for the target ``GET /points/c-1``."""
    method, _, path = target.partition(" ")
    try:
        name, _ = _router(routes).match(method, path)
    except (RouteNotFound, MethodNotAllowed):
        return UNDECLARED
    return name


@lru_cache(maxsize=1_000)
def _router(routes: tuple[RouteDeclaration, ...]) -> Router[str]:
    return Router({(route.method, route.path): f"{route.method} {route.path}" for route in routes})
