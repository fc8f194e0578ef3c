"""Calls of other plugins' exported routes in memory: each an invocation of its own, with its own transaction."""

from typing import TYPE_CHECKING, Any

import msgspec

from outlet._calls import RouteCall
from outlet._rules.exports import MAX_DEPTH, check_exported
from outlet._rules.refusal import ApiRefusal
from outlet.testing._groups import Arguments, Group, method
from outlet.testing._observed import Answer, PluginFailed

if TYPE_CHECKING:
    from outlet.testing._installation import InstalledPlugin


class CallPlugin(Arguments):
    plugin: str
    method: str
    path: str
    query: str = ""
    content_type: str = ""
    body: bytes = b""


class PluginCalls(Group):
    """Calls of one attempt; a repeated attempt gets the first answers again."""

    _calls = 0

    @method("plugins.call", CallPlugin)
    async def call(self, call: CallPlugin) -> dict[str, Any]:
        self._calls += 1
        callee = self._callee(call.plugin)
        check_exported(callee.manifest, call.method, call.path, call.query)
        own = self.plugin.manifest.plugin_id
        request = RouteCall(
            method=call.method,
            path=call.path,
            query=call.query,
            headers=[("content-type", call.content_type)] if call.content_type else [],
            body=call.body,
            subject=f"plugin:{own}",
            store=self.invocation.store,
            role="plugin",
        )
        target = f"{call.method} {call.path}"
        try:
            result = await callee.run_route(
                target,
                msgspec.msgpack.encode(request),
                store=self.invocation.store,
                cause=self.platform.repeatable_id("call", *self.invocation.key, str(self._calls)),
                callers=(*self.invocation.callers, own),
            )
        except PluginFailed as failure:
            if failure.code == "plugin_timeout":
                raise ApiRefusal("call_timeout", f"{call.plugin} did not answer {target} in time") from failure
            raise ApiRefusal("call_failed", f"{call.plugin} failed to answer {target} ({failure.code})") from failure
        answer = Answer.of(result)
        return {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}

    def _callee(self, plugin_id: str) -> "InstalledPlugin":
        """The installation that is called. Raises ApiRefusal unless both plugins and the organization want this."""
        own = self.plugin
        if plugin_id not in {declared.plugin_id for declared in own.manifest.calls}:
            raise ApiRefusal("call_not_declared", f"the manifest declares no calls of {plugin_id!r:.80} ([[calls]])")
        if f"call:{plugin_id}" not in own.grants:
            raise ApiRefusal("permission_denied", f"the organization has not granted call:{plugin_id}")
        callers = (*self.invocation.callers, own.manifest.plugin_id)
        if plugin_id in callers:
            raise ApiRefusal("call_cycle", f"{' -> '.join([*callers, plugin_id])}: a plugin cannot wait for itself")
        if len(callers) > MAX_DEPTH:
            raise ApiRefusal("call_too_deep", f"{' -> '.join([*callers, plugin_id])}: at most {MAX_DEPTH} calls deep")
        found = self.platform.find(plugin_id, self.invocation.store)
        if found is None or found.status != "active":
            raise ApiRefusal("plugin_not_active", f"{plugin_id} is not installed and active here")
        return found
