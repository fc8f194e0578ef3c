"""The platform in memory: one organization with its stores, and the plugins that it has installed."""

import random
import re
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from outlet._load import describe, load_entry
from outlet._rules.documents import decode_document
from outlet.testing._fetching import NoAnswer, Reply, Service
from outlet.testing._installation import ENTITIES, InstalledPlugin, encode_json
from outlet.testing._models import entities
from outlet.testing._observed import Fetched
from outlet.testing._store import Store

NAMES = uuid.UUID("b4a4f0bb-5a1a-5a5f-8f52-6c1f4a9c1d11")
MOMENT = timedelta(microseconds=1)


class Platform:
    """Everything that plugins share. The clock stands still at ``now`` unless a test moves it.

    ``organization``: the id of the one organization. Ids and orders repeat from run to run.
    """

    def __init__(self, organization: str = "acme", *, now: datetime | None = None) -> None:
        self.organization = organization
        self.now = now or datetime(2026, 1, 5, 9, tzinfo=UTC)
        self.store = Store()
        self.plugins: list[InstalledPlugin] = []
        self._services: list[tuple[str, re.Pattern[str], Service]] = []
        self._random = random.Random(1)  # noqa: S311  ids, not secrets
        self._occurred: dict[tuple[str, str, str], datetime] = {}
        self._undelivered: list[tuple[str, Any, str]] = []
        self._latest = self.now

    def add_plugin(
        self,
        folder: str | Path = ".",
        *,
        store: str | None = None,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        grants: Collection[str] | None = None,
    ) -> InstalledPlugin:
        """Take the plugin in ``folder`` (with its plugin.toml); run :meth:`InstalledPlugin.install` then.

        ``store``: install it in this store only. ``grants``: what the organization grants; everything that the manifest
        asks for unless said. ``secrets``: the values of secret settings. The code is imported as the tests import it.
        Raises :class:`outlet.package.PackageError` for a plugin that ``outlet build`` would refuse too.
        """
        found = describe(Path(folder), load_entry)
        installed = InstalledPlugin(
            self,
            found.plugin,
            found.manifest,
            tuple(str(Path(folder).resolve() / path) for path in found.files),
            store=store,
            config=config or {},
            secrets=secrets or {},
            grants=frozenset(found.manifest.wanted_grants() if grants is None else grants),
        )
        self.plugins.append(installed)
        return installed

    async def install(self, folder: str | Path = ".", **options: Any) -> InstalledPlugin:
        """:meth:`add_plugin`, and run ``on_install`` and ``on_activate``."""
        installed = self.add_plugin(folder, **options)
        await installed.install()
        await installed.activate()
        return installed

    def add(self, model: str, document: Mapping[str, Any], *, store: str | None = None) -> None:
        """Let the stores' systems have published an entity (``product``), which no plugin is told of.

        ``store`` is the document's ``storeId`` unless given, else store-1.
        """
        self.project(f"{model}.created", document, store or document.get("storeId", "store-1"), self.moment())

    def entities(self, model: str) -> list[dict[str, Any]]:
        """All entities of one kind, by store and id, personal data included."""
        return [document for _, document in sorted(self.store.all(entities(self.organization, model)).items())]

    def on_fetch(self, url: str, service: Service | Reply, *, method: str = "*") -> None:
        """Answer requests to ``url``, in which ``*`` stands for anything. Said later goes before said earlier."""
        pattern = re.compile(".*".join(map(re.escape, url.split("*"))))
        answer = service if callable(service) else (lambda _: service)
        self._services.insert(0, (method.upper(), pattern, answer))

    async def publish(self, event: str, data: Any, *, store: str = "store-1", **options: Any) -> None:
        """Deliver an event to every plugin that listens to it. Options are those of :meth:`InstalledPlugin.send`."""
        self.project(event, data, store, options.get("time") or self.moment())
        for plugin in list(self.plugins):
            await plugin.send(event, data, store=store, **options)

    async def settle(self) -> None:
        """Deliver what plugins emitted, and what their changes of entities caused, until nothing is left to deliver."""
        while self._undelivered:
            event, data, store = self._undelivered.pop(0)
            for plugin in list(self.plugins):
                await plugin.send(event, data, store=store, source="urn:outlet:plugins")

    def advance(self, by: timedelta) -> None:
        """Put the clock forward."""
        self.now += by

    def moment(self) -> datetime:
        """The present moment; a little later each time, so that no two things happen at once."""
        self._latest = max(self.now, self._latest + MOMENT)
        return self._latest

    def new_id(self) -> str:
        """An id that nothing else has."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def repeatable_id(self, *name: str) -> str:
        """The same id for the same name."""
        return str(uuid.uuid5(NAMES, "\0".join(name)))

    def answer(self, request: Fetched) -> Reply | Exception:
        """What a service outside says. Raises :class:`NoAnswer` when the test has not said."""
        for method, pattern, service in self._services:
            if method in ("*", request.method) and pattern.fullmatch(request.url):
                return service(request)
        raise NoAnswer(
            f"the plugin fetches {request.method} {request.url}: say what it answers with "
            f'platform.on_fetch("{request.url}", Reply(json=...))'
        )

    def find(self, plugin_id: str, store: str | None) -> InstalledPlugin | None:
        """The installation of a plugin that is at work in a store: the store's own before the organization's."""
        found = [plugin for plugin in self.plugins if plugin.manifest.plugin_id == plugin_id]
        covering = [plugin for plugin in found if plugin.store in (None, store)]
        return min(covering, key=lambda plugin: plugin.store is None, default=None)

    def project(self, event: str, data: Any, store: str, moment: datetime) -> None:
        """Keep what an event says of an entity, unless something later is known."""
        entity, _, verb = event.partition(".")
        if entity not in ENTITIES or isinstance(data, bytes):
            return
        document = decode_document(encode_json(data).decode())
        key = (entity, store, document["id"])
        if moment < self._occurred.get(key, moment):
            return
        self._occurred[key] = moment
        kept = self.store.collections.setdefault(entities(self.organization, entity), {})
        if verb == "deleted":
            kept.pop((store, document["id"]), None)
        else:
            kept[store, document["id"]] = document

    def happened(self, plugin: InstalledPlugin, kind: str, effects: list[Any]) -> None:
        """A plugin's call was committed with these effects."""
        if kind == "emitted":
            prefix = plugin.manifest.plugin_id
            self._undelivered += [(f"{prefix}/{each.event}", each.data, each.store) for each in effects]
        elif kind == "published":
            self._undelivered += [(each.type, each.data, each.store) for each in effects]

    def remove(self, plugin: InstalledPlugin) -> None:
        """Forget an installation and what it stored."""
        self.plugins.remove(plugin)
        for place in plugin.places():
            self.store.collections.pop(place, None)
