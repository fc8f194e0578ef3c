"""A sandbox whose plugins are functions of the test: what they do to the Plugin API is real, the process is not."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from outlet._calls import RouteResult
from outlet.manifest import Limits
from services.common.runtime_client import PluginFailed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import GuestCall, GuestKey

Api = Callable[[str, dict[str, Any]], Awaitable[Any]]
Script = Callable[[Api, GuestCall], Awaitable[bytes | None]]


class ScriptedSandbox:
    """Stands where the sandbox pool stands. ``calls`` are the calls it got, with whether each ran alone."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.calls: list[tuple[GuestCall, bool]] = []

    async def invoke(
        self, _: GuestKey, call: GuestCall, api: Api, *, deadline: float, alone: bool = False, wanted: Limits
    ) -> bytes:
        assert deadline > 0
        self.calls.append((call, alone))
        try:
            return await self._script(api, call) or b""
        except ApiRefusal as refusal:  # a guest's handler sees an ApiError, and raises it when it does not catch it
            raise PluginFailed("plugin_raised", f"ApiError: {refusal.message}") from refusal


def route_result(status: int = 200, *, undo: bool = False) -> bytes:
    """What a guest sends for a route."""
    return msgspec.msgpack.encode(RouteResult(status, [], b"{}", undo))


async def raising(_: Api, __: GuestCall) -> bytes | None:
    raise PluginFailed("plugin_raised", "ValueError: no", "Traceback ...")
