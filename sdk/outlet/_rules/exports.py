"""Which routes of a plugin others may call."""

import re

from outlet._guest.routing import MethodNotAllowed, RouteNotFound, Router
from outlet._rules.refusal import ApiRefusal
from outlet.manifest import Manifest

MAX_DEPTH = 3
"""Calls one within the other: A calls B, B calls C, C calls D."""
MAX_PATH = 2_000

_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


def check_exported(manifest: Manifest, method: str, path: str, query: str) -> None:
    """The route that would answer must be exported. Raises ApiRefusal.

    It is found as the plugin itself finds it: a route that is not exported cannot be reached by a path that an exported
    one would match too.
    """
    if len(path) > MAX_PATH or not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise ApiRefusal("invalid_path", f"{path!r:.80}: a path such as /points/c-1, percent-encoded")
    router = Router({(route.method, route.path): f"{route.method} {route.path}" for route in manifest.routes})
    try:
        route, _ = router.match(method, path)
    except (RouteNotFound, MethodNotAllowed):
        route = ""
    if method == "HEAD" or route not in manifest.exports:
        raise ApiRefusal("not_exported", f"{manifest.plugin_id} exports no {method:.10} {path:.80}")
