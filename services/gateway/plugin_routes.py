"""``ANY /api/plugins/{pluginId}/api/{path}``: the HTTP routes that plugins declare, served by a worker over gRPC.

Headers pass by allow-lists in both directions: a plugin never sees a credential, and cannot set a cookie, a policy or
a redirect to another site on the platform's origin.
"""

import re
import uuid
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from outlet.manifest import RouteDeclaration
from services.common.auth import USES, Caller, require
from services.common.directory import Directory, Installation
from services.common.errors import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    NotFound,
    OutletError,
    TooManyRequests,
    Unavailable,
)
from services.common.runtime_client import (
    PLUGIN_REVOKED,
    PluginFailed,
    RouteCall,
    RouteCaller,
    RouteReply,
    RuntimeClient,
)
from services.gateway.bodies import read_body
from services.gateway.paths import checked_path

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
STORE_HEADER = "X-Outlet-Store"

TO_PLUGIN = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "user-agent",
    }
)
FROM_PLUGIN = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-language",
        "content-type",
        "etag",
        "last-modified",
        "location",
        "ratelimit-limit",  # of the platform: the worker leaves none of the plugin's
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
    }
)
# The worker keeps the deadline itself, after at most 2 s of catching up with the directory, and can name the plugin.
# What is added here is for a worker that does not answer at all.
ANSWER_MARGIN_SECONDS = 3.0

_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, section 5.5
_SAME_SITE = re.compile(r"/(?![/\\]).*")

router = APIRouter()


class MethodNotAllowed(OutletError):
    status = 405
    code = "method_not_allowed"
    remedy = "Use one of the methods in the Allow header."


class PluginRoutes:
    """Finds the installation a request is about, and has a worker run its route."""

    def __init__(self, directory: Directory, runtime: RuntimeClient, deadline: float) -> None:
        self._directory = directory
        self._runtime = runtime
        self._deadline = deadline

    def installation(self, plugin_id: str, caller: Caller, store: str | None) -> Installation:
        """The active installation in effect in ``store``. Raises NotFound or Conflict."""
        found = self._directory.find(plugin_id, caller.organization, store)
        if found is None:
            place = "for the whole organization" if store is None else f"in store {store!r}"
            raise NotFound(
                f"The plugin {plugin_id!r} is not installed {place}.",
                code="not_installed",
                remedy=f"Install it, or name the store: ?store= or {STORE_HEADER}.",
            )
        if found.revoked is not None:
            raise _revoked(plugin_id, found.revoked)
        if found.status == "active" and found.updating:
            raise Unavailable(
                f"The plugin {plugin_id!r} is being updated.",
                code="plugin_updating",
                remedy="Wait for as long as Retry-After says, then try again.",
                headers={"Retry-After": "1"},
            )
        if found.status != "active":
            raise Conflict(
                f"The plugin {plugin_id!r} is {found.status}, not active.",
                code="not_active",
                remedy="Activate the installation first.",
                installationStatus=found.status,
            )
        return found

    async def call(self, call: RouteCall) -> RouteReply:
        """The plugin's answer. Raises BadGateway, GatewayTimeout or Unavailable; never tells a plugin's traceback."""
        try:
            return await self._runtime.call_route(call, deadline=self._deadline + ANSWER_MARGIN_SECONDS)
        except PluginFailed as failure:
            plugin_id = call.installation.plugin_id
            if failure.code == "plugin_timeout":
                raise GatewayTimeout(
                    "The plugin did not answer in time.", code=failure.code, source="plugin", pluginId=plugin_id
                ) from failure
            if failure.code == "plugin_rate_limited":
                raise TooManyRequests(
                    "The plugin has used up its API calls.",
                    headers={"Retry-After": "1"},
                    source="plugin",
                    pluginId=plugin_id,
                ) from failure
            if failure.code == PLUGIN_REVOKED:
                raise _revoked(plugin_id, None) from failure
            if failure.source == "platform":
                raise _refused(failure.code, plugin_id) from failure
            raise _plugin_failed("The plugin failed to answer.", failure.code, plugin_id) from failure


@router.api_route("/api/plugins/{plugin_id}/api/{path:path}", methods=METHODS, include_in_schema=False)
async def serve_route(
    request: Request, plugin_id: str, path: str, caller: Annotated[Caller, Depends(require(USES))]
) -> Response:
    """Run a plugin's route for the caller's organization, in the token's store or the one that is asked for."""
    routes: PluginRoutes = request.app.state.plugin_routes
    checked_path(request)
    path = f"/{path}"
    store = caller.choose_store(request.query_params.get("store") or request.headers.get(STORE_HEADER))
    installation = routes.installation(plugin_id, caller, store)
    method = "GET" if request.method == "HEAD" else request.method
    methods = methods_at(installation.manifest.routes, path)
    allow = {"Allow": ", ".join(methods)}
    if method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    if method not in methods:
        raise MethodNotAllowed(f"The route {path} does not take {method}.", headers=allow)
    reply = await routes.call(
        RouteCall(
            call_id=str(uuid.uuid4()),
            installation=installation,
            method=method,
            path=path,
            query=request.url.query,
            headers=[(name, value) for name, value in request.headers.items() if name in TO_PLUGIN],
            body=await read_body(request),
            caller=RouteCaller(caller.subject, caller.organization, store, caller.role),
        )
    )
    return to_response(reply, plugin_id)


def methods_at(routes: Iterable[RouteDeclaration], path: str) -> list[str]:
    """The methods that a plugin's routes take at ``path``, for an Allow header. Raises NotFound for no route."""
    segments = path.split("/")
    methods = {route.method for route in routes if _matches(route.path.split("/"), segments)}
    if not methods:
        raise NotFound(f"The plugin has no route {path}.", code="route_not_found")
    return sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})


def _matches(template: list[str], segments: list[str]) -> bool:
    return len(template) == len(segments) and all(
        part == segment or part.startswith("{") for part, segment in zip(template, segments, strict=True)
    )


def to_response(reply: RouteReply, plugin_id: str) -> Response:
    """The plugin's answer as HTTP, with the headers it may set. Raises BadGateway for one that HTTP cannot carry."""
    headers = [(name.lower(), value) for name, value in reply.headers if name.lower() in FROM_PLUGIN]
    if not 200 <= reply.status <= 599 or not all(_FIELD_VALUE.fullmatch(value) for _, value in headers):
        raise _plugin_failed(
            f"The plugin answered what HTTP cannot carry (status {reply.status}).", "plugin_bad_result", plugin_id
        )
    response = Response(b"" if reply.status in (204, 205, 304) else reply.body, reply.status)
    for name, value in headers:
        if name != "location" or _SAME_SITE.fullmatch(value):
            response.headers.append(name, value)
    return response


def _revoked(plugin_id: str, reason: str | None) -> Conflict:
    return Conflict(
        f"The installed version of the plugin {plugin_id!r} was revoked: {reason or 'a moment ago'}.",
        code="plugin_revoked",
        remedy="Install another version, or wait until this one is allowed again: its events are kept.",
        pluginId=plugin_id,
    )


def _refused(code: str, plugin_id: str) -> BadGateway:
    return BadGateway(
        "The platform does not run this plugin: its package is not what its publisher signed.",
        code=code,
        remedy="Tell the platform's operator; the installation's errors say what was found.",
        source="platform",
        pluginId=plugin_id,
    )


def _plugin_failed(detail: str, code: str, plugin_id: str) -> BadGateway:
    return BadGateway(detail, source="plugin", pluginId=plugin_id, pluginCode=code)
