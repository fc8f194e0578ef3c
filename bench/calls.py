"""Calls to a plugin, timed."""

import asyncio
import itertools
import json
import time
from typing import Any

import msgspec

from outlet.package import Package
from services.common.events import DomainEvent
from services.runtime.sandbox import GuestCall, GuestKey, SandboxPool, ScopeData, hook_payload


class PluginCalls:
    """Calls the measured plugin for one organization."""

    def __init__(self, pool: SandboxPool, plugin: Package, organization: str = "acme") -> None:
        self._pool = pool
        self._key = GuestKey(organization, plugin.manifest.plugin_id, plugin.digest)
        facts: dict[str, Any] = {"organization": organization, "store": None, "config": {}}
        self._scope = ScopeData(f"bench-{organization}", 1, msgspec.msgpack.encode(facts))
        self._numbers = itertools.count()

    async def hook(self, event: str = "sale.noted", **data: Any) -> None:
        """Run one hook; every API call is answered at once."""
        given = DomainEvent(
            f"e-{next(self._numbers)}",
            event,
            "urn:bench",
            "2026-11-01T12:00:00Z",
            self._key.organization,
            "s1",
            json.dumps(data).encode(),
        )
        call = GuestCall("hook", event, self._scope, hook_payload(given))
        await self._pool.invoke(self._key, call, _answer, deadline=60.0)

    async def hooks(self, count: int, lanes: int = 64) -> None:
        """Run ``count`` no-op hooks, ``lanes`` of them asked for at the same time."""

        async def lane() -> None:
            for _ in range(count // lanes):
                await self.hook()

        await asyncio.gather(*(lane() for _ in range(lanes)))

    async def api_call_microseconds(self, count: int) -> float:
        """The time of one API call among ``count`` in a row within one hook."""
        began = time.perf_counter()
        await self.hook("sale.counted", calls=count)
        return (time.perf_counter() - began) / count * 1e6


async def _answer(method: str, arguments: dict[str, Any]) -> Any:
    return []
