"""A sandbox whose plugins are functions of the test: what they do to the Plugin API is real, the process is not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from outlet._calls import RouteResult
from outlet.manifest import Limits
from services.common.runtime_client import PluginFailed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import Delivery, GuestCall, GuestKey, HookSource, RunningCall, hook_payload

Api = Callable[[str, dict[str, Any]], Awaitable[Any]]
Script = Callable[[Api, GuestCall], Awaitable[bytes | None]]


class ScriptedSandbox:
    """Stands where the sandbox pool stands. ``calls`` are the calls it got, with whether each ran alone."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.calls: list[tuple[GuestCall, bool]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def invoke(
        self, _: GuestKey, call: GuestCall, api: Api, *, deadline: float, alone: bool = False, wanted: Limits
    ) -> bytes:
        assert deadline > 0
        self.calls.append((call, alone))
        return await self._run(api, call)

    def feed(self, _: GuestKey, source: HookSource) -> None:
        """Take every event at once, as a guest that runs any number of hooks would."""
        while deliveries := source.take(64, 96 * 1024):
            for delivery in deliveries:
                call = GuestCall("hook", delivery.event.type, source.scope, hook_payload(delivery.event))
                self.calls.append((call, False))
                task = asyncio.create_task(self._deliver(delivery, call))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, call: GuestCall) -> None:
        running: RunningCall | None = None

        async def api(method: str, arguments: dict[str, Any]) -> Any:
            nonlocal running
            running = running or delivery.open()
            return await running.api(method, arguments)

        outcome: bytes | Exception
        try:
            outcome = await self._run(api, call)
        except Exception as error:  # noqa: BLE001  whatever the test's plugin raises
            outcome = error
        if running is not None:
            running.finish(outcome)
        else:
            delivery.ended(outcome if isinstance(outcome, Exception) else None, 0.0)

    async def _run(self, api: Api, call: GuestCall) -> bytes:
        try:
            return await self._script(api, call) or b""
        except ApiRefusal as refusal:  # a guest's handler sees an ApiError, and raises it when it does not catch it
            raise PluginFailed("plugin_raised", f"ApiError: {refusal.message}") from refusal


def route_result(status: int = 200, *, undo: bool = False) -> bytes:
    """What a guest sends for a route."""
    return msgspec.msgpack.encode(RouteResult(status, [], b"{}", undo))


async def raising(_: Api, __: GuestCall) -> bytes | None:
    raise PluginFailed("plugin_raised", "ValueError: no", "Traceback ...")
