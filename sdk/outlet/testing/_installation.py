"""A plugin that is installed in the platform in memory: call it as the platform does, look at what it did."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec

from outlet import _json, _values
from outlet._calls import HookCall, JobCall, RouteCall, RouteResult, TickCall
from outlet._plugin import Plugin
from outlet._rules.cron import next_tick
from outlet._rules.documents import decode_document
from outlet._rules.personal_data import hidden_from, redact
from outlet._rules.refusal import ApiRefusal
from outlet.manifest import Lifecycle, Manifest, Method
from outlet.testing._data import values
from outlet.testing._invocation import Invocation
from outlet.testing._messages import jobs
from outlet.testing._observed import Answer, Emitted, Fetched, Kind, LogLine, Notice, Observed, WaitingJob
from outlet.testing._store import Collection
from outlet.testing._tables import definitions, rows

if TYPE_CHECKING:
    from outlet.testing._platform import Platform

SECONDS = 10.0
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
ENTITIES = ("sale", "product", "customer", "employee", "store")

Status = Literal["installed", "active", "inactive", "uninstalled"]

encode_json = msgspec.json.Encoder(decimal_format="number").encode


class InstalledPlugin:
    """One installation. Made by :meth:`Platform.add_plugin`.

    ``config`` and ``grants`` (a set of names as ``product:read`` or ``host:api.example.com``) may be changed by a test
    at any time, and so may ``secrets``, the values of secret settings. ``calls_left``: API calls until the plugin is
    told to make fewer (``rate_limited``); None: no limit. What it did is in ``emitted``, ``notices``, ``logs``,
    ``fetched``, ``jobs``, ``data`` and :meth:`rows`.
    """

    def __init__(
        self,
        platform: "Platform",
        plugin: Plugin,
        manifest: Manifest,
        paths: tuple[str, ...],
        *,
        store: str | None,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        grants: frozenset[str],
    ) -> None:
        self.platform = platform
        self.plugin = plugin
        self.manifest = manifest
        self.paths = paths
        self.id = str(uuid.uuid4())
        self.organization = platform.organization
        self.store = store
        self.config: dict[str, Any] = dict(config)
        self.secrets: dict[str, str] = dict(secrets)
        self.grants: set[str] = set(grants)
        self.status: Status = "inactive"
        self.calls_left: int | None = None
        self.observed = Observed()

    async def install(self) -> None:
        """Run ``on_install``, as the platform does when an organization installs the plugin."""
        await self._lifecycle("onInstall")
        self.status = "installed"

    async def activate(self) -> None:
        """Run ``on_activate``; from then on events and requests are for the plugin."""
        await self._lifecycle("onActivate")
        self.status = "active"

    async def deactivate(self) -> None:
        """Run ``on_deactivate``; the plugin hears nothing any more."""
        await self._lifecycle("onDeactivate")
        self.status = "inactive"

    async def uninstall(self) -> None:
        """Run ``on_uninstall`` and delete all that the installation stored."""
        await self._lifecycle("onUninstall")
        self.status = "uninstalled"
        self.platform.remove(self)

    async def send(
        self,
        event: str,
        data: Any,
        *,
        store: str = "store-1",
        id: str | None = None,  # noqa: A002  the attribute's name
        source: str = "/pos",
        time: datetime | None = None,
    ) -> None:
        """Deliver an event, ``sale.created`` with the sale's document for example, and run the plugin's hook for it.

        The document is what ``api.models`` finds from then on. An event with the ``id`` of one that was delivered
        before changes nothing. A plugin that is not active, or is installed in another store, does not hear it. Raises
        :class:`PluginFailed` when the hook fails: the platform would try again, and so may the test, with the same id.
        """
        moment = time or self.platform.moment()
        name = id or self.platform.new_id()
        self.platform.project(event, data, store, moment)
        if self.status != "active" or self.store not in (None, store):
            return
        if event not in {hook.event for hook in self.manifest.hooks}:
            return
        call = HookCall(
            id=name,
            type=event,
            source=source,
            time=moment.isoformat(),
            organization=self.organization,
            store=store,
            data=data if isinstance(data, bytes) else self._redacted(event, data),
        )
        await self._run("hook", event, source, name, store, msgspec.msgpack.encode(call))

    async def call(
        self,
        method: Method | Literal["HEAD"],
        path: str,
        *,
        json: Any = None,
        body: bytes = b"",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        role: str = "cashier",
        subject: str = "user-1",
        store: str | None = "store-1",
        request_id: str | None = None,
    ) -> Answer:
        """Call a route, as somebody with this ``role`` in this ``store``. Raises :class:`PluginFailed`.

        A problem that the route raised is an answer. A plugin that is not active answers 409. ``request_id`` repeated
        is the same request again: it gets the first answer.
        """
        if self.status != "active":
            return Answer(409, {"content-type": "application/problem+json"}, b'{"code":"not_active"}')
        content = [("content-type", "application/json")] if json is not None else []
        request = RouteCall(
            method=method,
            path=quote(path, safe="/%:@!$&'()*+,;=~-._"),
            query=urlencode(query or {}),
            headers=[*content, *((name.lower(), value) for name, value in (headers or {}).items())],
            body=encode_json(json) if json is not None else body,
            subject=subject,
            store=store,
            role=role,
        )
        payload = msgspec.msgpack.encode(request)
        cause = request_id or self.platform.new_id()
        return Answer.of(await self.run_route(f"{method} {request.path}", payload, store=store, cause=cause))

    async def get(self, path: str, **options: Any) -> Answer:
        """:meth:`call` with GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """:meth:`call` with POST."""
        return await self.call("POST", path, json=json, **options)

    async def tick(self, schedule: str, planned: datetime | None = None) -> None:
        """Run a schedule: for ``planned``, or for its next turn, to which the platform's clock is put forward."""
        known = {declared.name: declared for declared in self.manifest.schedules}
        if schedule not in known:
            raise ValueError(f"the plugin has no schedule {schedule!r}; it has {sorted(known)}")
        moment = planned or next_tick(known[schedule], self.platform.now)
        self.platform.now = max(self.platform.now, moment.astimezone(UTC))
        local = moment.astimezone(ZoneInfo(known[schedule].timezone)).isoformat()
        name = self.platform.repeatable_id("tick", self.id, schedule, local)
        payload = msgspec.msgpack.encode(TickCall(name, schedule, local))
        await self._run("schedule", schedule, "urn:outlet:schedules", name, None, payload)

    async def run_jobs(self) -> int:
        """Run the jobs that are due by the platform's clock, also those that these enqueue; how many ran.

        Raises :class:`PluginFailed` when one fails: it stays, to be due again after a pause that doubles.
        """
        count = 0
        while due := [job for job in self.jobs if job.due <= self.platform.now]:
            await self._run_job(min(due, key=lambda job: job.due))
            count += 1
        return count

    @property
    def emitted(self) -> list[Emitted]:
        """What ``api.emit`` published, in order."""
        return self.observed.emitted

    @property
    def notices(self) -> list[Notice]:
        """What ``api.notify`` sent, in order."""
        return self.observed.notices

    @property
    def logs(self) -> list[LogLine]:
        """What ``api.log`` wrote, in order."""
        return self.observed.logs

    @property
    def fetched(self) -> list[Fetched]:
        """What ``api.fetch`` sent, in order."""
        return self.observed.fetched

    @property
    def jobs(self) -> list[WaitingJob]:
        """The jobs that wait, those that are due first before the others."""
        return sorted(self.platform.store.all(jobs(self.id)).values(), key=lambda job: job.due)

    @property
    def data(self) -> dict[str, Any]:
        """The key-value data, with what has not expired."""
        kept = self.platform.store.all(values(self.id)).items()
        return {
            key: decode_document(entry.text)
            for key, entry in sorted(kept)
            if entry.expires is None or entry.expires > self.platform.now
        }

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a custom table, in the order in which they were made; without ``id`` and ``created_at``."""
        if table not in self.platform.store.all(definitions(self.manifest.plugin_id)):
            raise ValueError(f"the plugin has made no table {table!r}")
        found = sorted(self.platform.store.all(rows(self.id, table)).values(), key=lambda row: row["created_at"])
        return [{name: value for name, value in row.items() if name not in ("id", "created_at")} for row in found]

    async def run_route(
        self, target: str, payload: bytes, *, store: str | None, cause: str, callers: tuple[str, ...] = ()
    ) -> RouteResult:
        """Run a route for whoever asked, another plugin for example."""
        result = await self._run("route", target, "urn:outlet:requests", cause, store, payload, callers)
        return msgspec.msgpack.decode(result, type=RouteResult)

    def take_call(self) -> None:
        """Spend one API call. Raises ApiRefusal ``rate_limited``."""
        if self.calls_left is None:
            return
        if self.calls_left <= 0:
            raise ApiRefusal("rate_limited", "the installation has made its API calls: try again later")
        self.calls_left -= 1

    def places(self) -> list[Collection]:
        """Where the installation's own data is."""
        own = self.platform.store.all(definitions(self.manifest.plugin_id))
        return [values(self.id), jobs(self.id), *(rows(self.id, table) for table in own)]

    async def _lifecycle(self, target: Lifecycle) -> None:
        await self._run("lifecycle", target, "urn:outlet:operations", self.platform.new_id(), self.store, b"")

    async def _run_job(self, job: WaitingJob) -> None:
        call = JobCall(job.id, job.name, _values.encode(job.payload), job.attempts + 1, job.enqueued.isoformat())
        job.attempts += 1
        job.due = self.platform.now + min(FIRST_PAUSE * 2 ** (job.attempts - 1), LONGEST_PAUSE)
        await self._run("job", job.name, "urn:outlet:jobs", job.id, job.store, msgspec.msgpack.encode(call))
        self.platform.store.collections[jobs(self.id)].pop(job.id)

    async def _run(
        self,
        kind: Kind,
        target: str,
        source: str,
        cause: str,
        store: str | None,
        payload: bytes,
        callers: tuple[str, ...] = (),
    ) -> bytes:
        limits = self.manifest.limits
        own = {"hook": limits.hook_seconds, "route": limits.route_seconds}.get(kind)
        seconds = SECONDS if own is None else min(own, SECONDS)
        return await Invocation(self, kind, target, source, cause, store, payload, seconds, callers).run()

    def _redacted(self, event: str, data: Any) -> bytes:
        """The event's data as the plugin may see it."""
        entity = event.partition(".")[0]
        encoded = encode_json(data)
        hidden = hidden_from(tuple(self.grants))
        if not hidden or entity not in ENTITIES:
            return encoded
        document = _json.decode(encoded)
        return encode_json(document) if redact(entity, document, hidden) else encoded
