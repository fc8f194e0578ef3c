"""``plugins.call``: another plugin's exported route, when its manifest, the caller's and the organization agree.

The route runs as an invocation of its own, with its own transaction: what it did stays when the caller fails later.
The call's id follows from the caller's cause and the number of the call, so a repeated caller gets the first answer.
"""

import asyncio
import time
import uuid
from typing import Any

from outlet._rules.exports import MAX_DEPTH, check_exported
from services.common.directory import Installation
from services.common.runtime_client import PluginFailed
from services.runtime.invocation import Invocation
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method
from services.runtime.sandbox import RouteRequest, read_route_result, route_payload

SPARED_SECONDS = 0.25
"""Left of the caller's own deadline, so that it sees the time-out rather than being ended by it."""

SOURCE = "urn:outlet:plugin-calls"
CALLS = uuid.UUID("b0d2b1b8-6f0b-5d0e-8d0c-3f7d7c1c2a55")  # namespace of the ids of calls


class CallPlugin(Arguments):
    plugin: str
    method: str
    path: str
    query: str = ""
    content_type: str = ""
    body: bytes = b""


class PluginCalls(Group):
    """Calls of one attempt."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = 0

    @method("plugins.call", CallPlugin)
    async def call(self, call: CallPlugin) -> dict[str, Any]:
        number = self._calls = self._calls + 1
        callee = self._callee(call.plugin)
        check_exported(callee.manifest, call.method, call.path, call.query)
        target = f"{call.method} {call.path}"
        invocation = Invocation(
            installation=callee,
            kind="route",
            target=target,
            source=SOURCE,
            id=str(uuid.uuid5(CALLS, "\0".join([*self.invocation.key.row(), str(number)]))),
            store=self.invocation.store,
            payload=route_payload(self._request(call)),
            deadline=self._seconds_left(),
            callers=(*self.invocation.callers, self.installation.plugin_id),
        )
        if self.context.call is None:
            raise ApiRefusal("plugin_not_active", f"{call.plugin} cannot be called from here")
        try:
            async with asyncio.timeout(invocation.deadline):
                result = read_route_result(await self.context.call(invocation))
        except TimeoutError:
            raise ApiRefusal("call_timeout", f"{call.plugin} did not answer {target} in time") from None
        except PluginFailed as failure:
            # Its message is for its own author.
            raise ApiRefusal("call_failed", f"{call.plugin} failed to answer {target} ({failure.code})") from failure
        return {"status": result.status, "headers": dict(result.headers), "body": result.body}

    def _callee(self, plugin_id: str) -> Installation:
        """The installation that is called. Raises ApiRefusal unless both plugins and the organization want this."""
        own = self.installation
        if plugin_id not in {declared.plugin_id for declared in own.manifest.calls}:
            raise ApiRefusal("call_not_declared", f"the manifest declares no calls of {plugin_id!r:.80} ([[calls]])")
        if f"call:{plugin_id}" not in own.grants:
            raise ApiRefusal("permission_denied", f"the organization has not granted call:{plugin_id}")
        callers = (*self.invocation.callers, own.plugin_id)
        if plugin_id in callers:
            raise ApiRefusal("call_cycle", f"{' -> '.join([*callers, plugin_id])}: a plugin cannot wait for itself")
        if len(callers) > MAX_DEPTH:
            raise ApiRefusal("call_too_deep", f"{' -> '.join([*callers, plugin_id])}: at most {MAX_DEPTH} calls deep")
        found = self.context.resources.directory.find(plugin_id, own.organization_id, self.invocation.store)
        if found is None or found.status != "active" or found.updating:
            raise ApiRefusal("plugin_not_active", f"{plugin_id} is not installed and active here")
        return found

    def _request(self, call: CallPlugin) -> RouteRequest:
        return RouteRequest(
            method=call.method,
            path=call.path,
            query=call.query,
            headers=[("content-type", call.content_type)] if call.content_type else [],
            body=call.body,
            subject=f"plugin:{self.installation.plugin_id}",
            store=self.invocation.store,
            role="plugin",
        )

    def _seconds_left(self) -> float:
        left = self.context.began + self.invocation.time_limit - time.monotonic() - SPARED_SECONDS
        if left <= 0:
            raise ApiRefusal("call_timeout", "no time is left for a call")
        return left
