"""Where the contract is played: in the test kit's memory, and in real sandboxes on a real database."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias

import asyncpg
import httpx
import msgspec

from outlet import package
from outlet._calls import JobCall, TickCall
from outlet.testing import InstalledPlugin, PluginFailed, Reply
from outlet.testing import Platform as Memory
from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed as ReallyFailed
from services.runtime.commerce import projector, redaction
from services.runtime.commerce.personal_data import hidden_from
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.outbound.client import Exchange
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.limits import FetchLimits
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox import (
    GuestKey,
    RouteRequest,
    SandboxPool,
    Zygote,
    hook_payload,
    read_route_result,
    route_payload,
)
from services.runtime.sandbox.payloads import job_payload, tick_payload
from tests.runtime.resources import resources

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Step: TypeAlias = Mapping[str, Any]
Service: TypeAlias = Callable[[str, str, Mapping[str, str]], Reply]

HERE = Path(__file__).parent
PROBE, NEIGHBOUR = HERE / "probe", HERE / "neighbour"
STORE = "store-1"
REFUSED = ("employee:read", "host:refused.example.com")
"""What the organization does not grant although the plugin asks for it."""


class Ground(Protocol):
    """One organization that has installed the probe and its neighbour."""

    async def install(self, *, store: str | None = None, grants: tuple[str, ...] | None = None) -> None:
        """Install both, and run their lifecycle hooks."""

    async def ask(self, path: str, body: Any, *, store: str | None = STORE, request: str | None = None) -> Any:
        """POST to a route of the probe: status and body; the code when the plugin failed."""

    async def sale(self, data: Mapping[str, Any], *, event: str, store: str = STORE) -> str | None:
        """Deliver a sale: None, or the code of the failure."""

    async def job(self, payload: Any, attempt: int) -> None:
        """Run the probe's job."""

    async def tick(self, planned: datetime) -> None:
        """Run the probe's schedule."""

    async def add(self, model: str, document: Mapping[str, Any], *, store: str = STORE) -> None:
        """Let the stores' systems have published an entity."""

    def answer(self, service: Service) -> None:
        """Answer the requests that leave."""

    def spend(self, left: int) -> None:
        """Leave the probe so many API calls."""

    async def left(self) -> dict[str, Any]:
        """What was emitted, published and notified, and how many jobs wait."""


class InMemory:
    """The test kit."""

    def __init__(self) -> None:
        self._platform = Memory()
        self._probe: InstalledPlugin | None = None

    @property
    def probe(self) -> InstalledPlugin:
        assert self._probe is not None
        return self._probe

    async def install(self, *, store: str | None = None, grants: tuple[str, ...] | None = None) -> None:
        secrets = {"token": "a-secret-of-some-length"}
        self._probe = await self._platform.install(PROBE, store=store, grants=grants, secrets=secrets)
        self.probe.grants -= set(REFUSED)
        await self._platform.install(NEIGHBOUR)

    async def ask(self, path: str, body: Any, *, store: str | None = STORE, request: str | None = None) -> Any:
        try:
            answer = await self.probe.post(path, body, store=store, request_id=request)
        except PluginFailed as failed:
            return failed.code
        return [answer.status, json.loads(answer.body)]

    async def sale(self, data: Mapping[str, Any], *, event: str, store: str = STORE) -> str | None:
        try:
            await self.probe.send("sale.created", data, id=event, store=store)
        except PluginFailed as failed:
            return failed.code
        return None

    async def job(self, payload: Any, attempt: int) -> None:
        await self.probe.post("/steps", [{"do": "enqueue", "name": "work", "key": "k", "payload": payload}])
        self.probe.jobs[0].attempts = attempt - 1
        await self.probe.run_jobs()

    async def tick(self, planned: datetime) -> None:
        await self.probe.tick("nightly", planned)

    async def add(self, model: str, document: Mapping[str, Any], *, store: str = STORE) -> None:
        self._platform.add(model, document, store=store)

    def answer(self, service: Service) -> None:
        self._platform.on_fetch("*", lambda asked: service(asked.method, asked.url, asked.headers))

    def spend(self, left: int) -> None:
        self.probe.calls_left = left

    async def left(self) -> dict[str, Any]:
        observed = self.probe.observed
        return {
            "emitted": [[each.event, each.data, each.store] for each in observed.emitted],
            "published": [[each.type, each.data, each.store] for each in observed.published],
            "notices": [[each.user_id, each.title] for each in observed.notices],
            "jobs": len(self.probe.jobs),
        }


class Counted:
    """So many API calls are left, where a number is set."""

    def __init__(self) -> None:
        self.left: int | None = None

    async def take(self, _: str) -> None:
        if self.left is None:
            return
        if self.left <= 0:
            raise ApiRefusal("rate_limited", "try again in 1 s")
        self.left -= 1


class Outside:
    """Stands in for the network."""

    guard = SimpleNamespace(loopback=False)
    service: Service | None = None

    async def send(self, method: str, url: httpx.URL, items: list[tuple[str, str]], body: bytes, *, limit: int) -> Any:
        assert self.service is not None
        reply = self.service(method, str(url), dict(items))
        headers = [(name.lower(), value) for name, value in reply.headers.items()]
        return Exchange(reply.status, headers, reply.content())


class Silent:
    """Nobody counts."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


@dataclass
class OnThePlatform:
    """Guests of a real zygote, transactions of a real database."""

    zygote: Zygote
    pool: Pool
    folders: tuple[Path, ...] = (PROBE, NEIGHBOUR)

    def __post_init__(self) -> None:
        self._packages = {built.manifest.plugin_id: built for built in map(package.build, self.folders)}
        self.directory, self._rates, self._outside = Directory(), Counted(), Outside()
        by_digest = {built.digest: built.data for built in self._packages.values()}

        async def fetch(key: GuestKey) -> bytes:
            return by_digest[key.digest]

        self.sandbox = SandboxPool(self.zygote, fetch)
        fetcher = Fetcher(self._outside, FetchLimits())  # type: ignore[arg-type]
        held = resources(directory=self.directory, rates=self._rates, fetcher=fetcher)
        self._invoker = Invoker(self.pool, self.sandbox, held, Silent())  # type: ignore[arg-type]
        self._probe: Installation | None = None

    @property
    def probe(self) -> Installation:
        assert self._probe is not None
        return self._probe

    async def install(self, *, store: str | None = None, grants: tuple[str, ...] | None = None) -> None:
        await self.install_plugin("contract-probe", store, grants, {"token": "a-secret-of-some-length"})
        self._installed("contract-neighbour", None, None, {})

    async def install_plugin(
        self, plugin_id: str, store: str | None, grants: tuple[str, ...] | None, config: dict[str, Any]
    ) -> None:
        """Install one of ``folders`` and run its ``on_install``; it is who is asked from then on."""
        probe = self._installed(plugin_id, store, grants, config)
        written = await self._run(probe, "lifecycle", "onInstall", b"", None, "install")
        changed = probe.config | msgspec.json.decode(written or b"{}")
        self._probe = msgspec.structs.replace(probe, config=changed, revision=2)
        self.directory.put(self._probe)

    def _installed(
        self, plugin_id: str, store: str | None, grants: tuple[str, ...] | None, config: dict[str, Any]
    ) -> Installation:
        built = self._packages[plugin_id]
        wanted = built.manifest.wanted_grants() if grants is None else grants
        found = Installation(
            id=str(uuid.uuid4()),
            revision=1,
            plugin_id=plugin_id,
            version="1.0.0",
            digest=built.digest,
            organization_id="acme",
            store_id=store,
            status="active",
            config=config,
            grants=tuple(grant for grant in wanted if grant not in REFUSED),
            manifest=built.manifest,
        )
        self.directory.put(found)
        return found

    async def ask(self, path: str, body: Any, *, store: str | None = STORE, request: str | None = None) -> Any:
        headers = [("content-type", "application/json")]
        asked = RouteRequest("POST", path, "", headers, json.dumps(body).encode(), "user-1", store, "cashier")
        return await self._ask(asked, request or uuid.uuid4().hex)

    async def get(self, path: str, query: str = "", *, store: str | None = STORE) -> Any:
        """GET a route of whoever is asked: status and body; the code when the plugin failed."""
        asked = RouteRequest("GET", path, query, [], b"", "user-1", store, "cashier")
        return await self._ask(asked, uuid.uuid4().hex)

    async def _ask(self, asked: RouteRequest, cause: str) -> Any:
        target = f"{asked.method} {asked.path}"
        try:
            result = await self._run(self.probe, "route", target, route_payload(asked), asked.store, cause)
        except ReallyFailed as failed:
            return failed.code
        answer = read_route_result(result)
        return [answer.status, json.loads(answer.body)]

    async def sale(self, data: Mapping[str, Any], *, event: str, store: str = STORE) -> str | None:
        given = self._event("sale.created", data, store, event)
        await self._project(given)
        seen = redaction.without(hidden_from(self.probe.grants), given)
        try:
            await self._run(self.probe, "hook", "sale.created", hook_payload(seen), store, event)
        except ReallyFailed as failed:
            return failed.code
        return None

    async def job(self, payload: Any, attempt: int) -> None:
        given = JobCall("j", "work", msgspec.msgpack.encode(payload), attempt, "2026-01-01T00:00:00+00:00")
        await self._run(self.probe, "job", "work", job_payload(given), STORE, "j")

    async def tick(self, planned: datetime) -> None:
        await self.tick_of("nightly", planned)

    async def tick_of(self, schedule: str, planned: datetime) -> None:
        """Run a schedule of whoever is asked."""
        given = TickCall("t", schedule, planned.isoformat())
        await self._run(self.probe, "schedule", schedule, tick_payload(given), None, "t")

    async def add(self, model: str, document: Mapping[str, Any], *, store: str = STORE) -> None:
        await self._project(self._event(f"{model}.created", document, store, uuid.uuid4().hex))

    def answer(self, service: Service) -> None:
        self._outside.service = service

    def spend(self, left: int) -> None:
        self._rates.left = left

    async def left(self) -> dict[str, Any]:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('outlet.platform', 'on', true)")
            rows = await connection.fetch("SELECT topic, value, headers FROM outbox ORDER BY id")
            jobs = await connection.fetchval("SELECT count(*) FROM background_work")
        left: dict[str, Any] = {"emitted": [], "published": [], "notices": [], "jobs": jobs}
        for row in rows:
            data, about = json.loads(row["value"], parse_float=Decimal), json.loads(row["headers"])
            if row["topic"] == "outlet.notifications":
                left["notices"].append([data["userId"], data["title"]])
            elif row["topic"] == "outlet.events.plugin":
                left["emitted"].append([about["ce_type"].partition("/")[2], data, about["ce_store"]])
            elif row["topic"].startswith("outlet.events."):
                left["published"].append([about["ce_type"], data, about["ce_store"]])
        return left

    async def _run(
        self, installation: Installation, kind: Any, target: str, payload: bytes, store: str | None, cause: str
    ) -> bytes:
        invocation = Invocation(installation, kind, target, "urn:test", cause, store, payload, 10.0)
        return await self._invoker.run(invocation)

    async def _project(self, event: DomainEvent) -> None:
        change = projector.read_change(event)
        assert change is not None
        async with self.pool.acquire() as connection:
            await projector.apply(connection, [change])

    @staticmethod
    def _event(name: str, data: Mapping[str, Any], store: str, event: str) -> DomainEvent:
        moment = datetime.now(UTC).isoformat()
        return DomainEvent(event, name, "urn:test", moment, "acme", store, json.dumps(data).encode())
