"""Small plugins for tests, built from the text of one module, and calls to them."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from outlet import package
from outlet.manifest import Manifest
from outlet.manifest import encode as encode_manifest
from outlet.package import Package
from services.common.events import DomainEvent
from services.runtime.sandbox import (
    GuestCall,
    GuestKey,
    RouteRequest,
    SandboxPool,
    ScopeData,
    hook_payload,
    read_route_result,
    route_payload,
)

HEAD = """
import asyncio, os, signal, sys, time
from outlet import Api, ApiError, Component, Event, Plugin, Problem, Request, Response, column
plugin = Plugin()
"""

ABOUT = """
[plugin]
id = "probe"
name = "Probe"
version = "1.0.0"
author = "Tests"
description = "Does what a test asks."
"""


def build(folder: Path, source: str) -> Package:
    """The package of a plugin whose one module is :data:`HEAD` and ``source``."""
    (folder / "plugin.toml").write_text(ABOUT)
    (folder / "probe").mkdir(exist_ok=True)
    (folder / "probe" / "__init__.py").write_text(HEAD + textwrap.dedent(source))
    return package.build(folder)


def pack_unimported(source: str, **members: Any) -> Package:
    """A package of code that must not run in the test's own process."""
    manifest = Manifest(
        **{"plugin_id": "probe", "name": "P", "version": "1.0.0", "author": "T", "description": "D"} | members,
        entry="probe:plugin",
    )
    files = {"manifest.json": encode_manifest(manifest), "probe/__init__.py": (HEAD + textwrap.dedent(source)).encode()}
    return package.open_package(package._zip(files))


class Recorder:
    """Answers API calls with what it is given, and remembers them."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any] = lambda method, arguments: None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer

    async def __call__(self, method: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((method, arguments))
        return self._answer(method, arguments)


class Caller:
    """Calls one plugin through a pool, as the runtime does."""

    def __init__(self, pool: SandboxPool, plugin: Package, organization: str = "acme") -> None:
        self.pool = pool
        self.key = GuestKey(organization, plugin.manifest.plugin_id, plugin.digest)
        self.config: dict[str, Any] = {}
        self.revision = 1
        self.installation = "installation-1"
        self.variant = ""
        self.wanted = plugin.manifest.limits

    async def hook(self, data: Any = None, *, event: str = "sale.created", **options: Any) -> bytes:
        """Deliver one event."""
        payload = json.dumps(data).encode()
        given = DomainEvent("event-1", event, "pos", "2026-03-01T10:00:00Z", "acme", "store-1", payload)
        return await self._invoke("hook", event, hook_payload(given), **options)

    async def lifecycle(self, target: str, **options: Any) -> bytes:
        """Run a lifecycle hook."""
        return await self._invoke("lifecycle", target, b"", **options)

    async def route(self, method: str, path: str, *, query: str = "", body: bytes = b"", **options: Any) -> Any:
        """Call a route; returns its RouteResult."""
        headers = [("Content-Type", "application/json")]
        request = RouteRequest(method, path, query, headers, body, "user-1", "store-1", "cashier")
        return read_route_result(await self._invoke("route", f"{method} {path}", route_payload(request), **options))

    async def _invoke(
        self,
        kind: Any,
        target: str,
        payload: bytes,
        *,
        api: Any = None,
        deadline: float = 5.0,
        alone: bool = False,
    ) -> bytes:
        facts = {"organization": self.key.organization, "store": None, "config": self.config}
        scope = ScopeData(self.installation, self.revision, msgspec.msgpack.encode(facts), self.variant)
        call = GuestCall(kind, target, scope, payload)
        return await self.pool.invoke(
            self.key, call, api or Recorder(), deadline=deadline, alone=alone, wanted=self.wanted
        )
