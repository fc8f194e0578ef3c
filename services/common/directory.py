"""The directory: every installation, in memory, followed from the compacted topic ``outlet.installations``.

Gateway, runtime and ui_components decide with it and never ask the registry while they serve.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from outlet.manifest import ComponentDeclaration, Manifest
from services.common.provenance import Provenance
from services.common.topics import INSTALLATIONS

log = structlog.get_logger(__name__)

REVISION_HEADER = "outlet_revision"
RETRY_SECONDS = 1.0

Status = Literal["installing", "inactive", "active", "error", "uninstalling"]


Backlog = Literal["none", "pause", "drain"]
"""What becomes of the events of an installation that is deactivated: new and waiting ones are kept until it is
activated again (``pause``), waiting ones still run (``drain``), or there is nothing to be done with them."""
BreakerState = Literal["closed", "open", "half_open"]


class Breaker(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The circuit breaker of an installation.

    ``closed``: everything runs. ``open``: no event, tick or job runs; all are kept. ``half_open``: at most ``probes``
    of them run at a time, to see whether the plugin works again; the others are kept. ``since`` and ``until`` (when an
    open one is to become half-open) are RFC 3339; ``revision`` is the installation's at the breaker's last change, 0
    while there was none.
    """

    state: BreakerState = "closed"
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    probes: int = 0
    revision: int = 0


CLOSED = Breaker()


class Library(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A library in the version that was resolved for one installation: its package is in that installation's guest."""

    plugin_id: str
    version: str
    digest: str
    provenance: Provenance | None = None


class Variant(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What differs of an installation in some stores of its organization.

    ``place`` says where that was decided (``region:<id>`` or ``store:<id>``); ``stores`` are those in which it is in
    effect. ``config`` are settings that take the place of the organization's, ``removed`` those that are not set there;
    ``grants`` are all that is granted there, None: what the organization granted.
    """

    place: str
    stores: tuple[str, ...]
    config: dict[str, Any] = {}
    removed: tuple[str, ...] = ()
    grants: tuple[str, ...] | None = None

    def over(self, config: dict[str, Any]) -> dict[str, Any]:
        """The whole configuration in these stores, where ``config`` is the organization's."""
        return {**{name: value for name, value in config.items() if name not in self.removed}, **self.config}


class Installation(msgspec.Struct, rename="camel", frozen=True, kw_only=True, dict=True):
    """One plugin version installed for an organization, or for one of its stores. The value on the topic.

    ``variants`` name every store at most once. ``variant`` is the place of the variant that this one is, empty when it
    is the installation itself: see :meth:`at`.
    """

    id: str
    revision: int
    plugin_id: str
    version: str
    digest: str
    organization_id: str
    store_id: str | None
    status: Status
    config: dict[str, Any]
    grants: tuple[str, ...]
    manifest: Manifest
    breaker: Breaker = CLOSED
    backlog: Backlog = "none"
    libraries: tuple[Library, ...] = ()
    updating: bool = False
    """Whether it is about to have another version: what is for it is kept meanwhile."""
    provenance: Provenance | None = None
    """By what a worker knows that the package is the publisher's; None: it runs nothing of it."""
    revoked: str | None = None
    """Why a reviewer has stopped the version everywhere: nothing of it runs."""
    variants: tuple[Variant, ...] = ()
    variant: str = ""

    def at(self, store: str | None) -> "Installation":
        """The installation as it is in ``store``: itself, unless a variant names the store; always the same object."""
        if not self.variants:
            return self
        return self._in_stores.get(store) or self._in_stores[None]

    def stores_otherwise(self, grant: str) -> tuple[bool, tuple[str, ...]]:
        """Whether the organization gives a grant, and the stores in which that is otherwise."""
        given = grant in self.at(None).grants
        differing = (
            variant.stores
            for variant in self.variants
            if variant.grants is not None and (grant in variant.grants) is not given
        )
        return given, tuple(store for stores in differing for store in stores)

    @cached_property
    def _in_stores(self) -> "dict[str | None, Installation]":
        found: dict[str | None, Installation] = {None: self}
        for variant in self.variants:
            here = msgspec.structs.replace(
                self,
                config=variant.over(self.config),
                grants=self.grants if variant.grants is None else variant.grants,
                variant=variant.place,
            )
            here.__dict__["_in_stores"] = found  # whoever has one variant can ask it for the others
            found |= dict.fromkeys(variant.stores, here)
        return found

    @property
    def listens(self) -> bool:
        """Whether events are for it: now, or once it is activated again, or its circuit breaker lets them through."""
        if self.status == "active" or self.held:
            return True
        return self.status in ("inactive", "error") and self.backlog == "pause"

    @property
    def held(self) -> bool:
        """Whether its circuit breaker lets nothing through, or little."""
        return self.status == "error" and self.breaker.state != "closed"

    def covers(self, store: str | None) -> bool:
        """Whether this installation is in effect in ``store`` (None: outside of any store)."""
        return self.store_id is None or self.store_id == store


def encode_installation(installation: Installation) -> bytes:
    return msgspec.json.encode(installation)


def decode_installation(value: bytes) -> Installation:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=Installation)


Shown: TypeAlias = tuple[Installation, ComponentDeclaration]
Place: TypeAlias = tuple[str, str | None]
"""What is asked for, and the store in which it is; None: in all of them."""


class _Organization:
    """The installations of one organization, indexed by what is asked of them and where they are in effect."""

    def __init__(self, installations: Iterable[Installation]) -> None:
        self._varied = False
        self._plugins: dict[Place, Installation] = {}
        self._listeners: dict[Place, list[Installation]] = defaultdict(list)
        self._components: dict[Place, list[Shown]] = defaultdict(list)
        for installation in installations:
            store = installation.store_id
            self._varied = self._varied or bool(installation.variants)
            self._plugins.setdefault((installation.plugin_id, store), installation)
            if installation.listens:
                for hook in installation.manifest.hooks:
                    self._listeners[hook.event, store].append(installation)
            if installation.status == "active":
                for component in installation.manifest.components:
                    self._components[component.injection_point, store].append((installation, component))

    def find(self, plugin_id: str, store: str | None) -> Installation | None:
        found = self._plugins.get((plugin_id, None)) or self._plugins.get((plugin_id, store))
        return None if found is None else found.at(store)

    def listeners(self, event_type: str, store: str) -> list[Installation]:
        found = [*self._listeners.get((event_type, None), ()), *self._listeners.get((event_type, store), ())]
        return [each.at(store) for each in found] if self._varied else found

    def components(self, injection_point: str, store: str | None) -> list[Shown]:
        places = dict.fromkeys([(injection_point, None), (injection_point, store)])
        offered = [each for place in places for each in self._components.get(place, ())]
        if self._varied:
            offered = [(found.at(store), component) for found, component in offered]
        return sorted(offered, key=lambda pair: (-pair[1].priority, pair[0].plugin_id, pair[1].name))


class Directory:
    """Answers who listens, who serves and what is shown. Reading costs the same whatever else is installed.

    ``changed`` is called with every newer state of an installation, once it is applied.
    """

    def __init__(self, changed: Callable[[Installation], None] | None = None) -> None:
        self._changed = changed
        self.revision = 0
        """The highest revision applied: revisions are published in order."""
        self._installations: dict[str, Installation] = {}
        self._members: dict[str, dict[str, Installation]] = defaultdict(dict)
        self._organizations: dict[str, _Organization] = {}
        self._moved = asyncio.Event()

    def __len__(self) -> int:
        return len(self._installations)

    def __iter__(self) -> Iterator[Installation]:
        return iter(self._installations.values())

    def put(self, installation: Installation) -> None:
        """Take over a newer state of one installation; an older one (a relay that repeats itself) is ignored."""
        known = self._installations.get(installation.id)
        if known is not None and known.revision >= installation.revision:
            return
        self._installations[installation.id] = installation
        self._members[installation.organization_id][installation.id] = installation
        self._organizations.pop(installation.organization_id, None)
        if self._changed is not None:
            self._changed(installation)

    def remove(self, installation_id: str) -> None:
        """Forget an installation that was uninstalled."""
        known = self._installations.pop(installation_id, None)
        if known is not None:
            del self._members[known.organization_id][installation_id]
            self._organizations.pop(known.organization_id, None)

    def advance(self, revision: int) -> None:
        """Everything up to ``revision`` has been applied."""
        if revision > self.revision:
            self.revision = revision
            self._moved.set()
            self._moved = asyncio.Event()

    async def reached(self, revision: int) -> None:
        """Wait until everything up to ``revision`` has been applied."""
        while self.revision < revision:
            await self._moved.wait()

    def get(self, installation_id: str) -> Installation | None:
        return self._installations.get(installation_id)

    def find(self, plugin_id: str, organization: str, store: str | None) -> Installation | None:
        """The one installation of a plugin that is in effect in a store, as it is there, whatever its status."""
        return self._of(organization).find(plugin_id, store)

    def listeners(self, event_type: str, organization: str, store: str) -> list[Installation]:
        """The installations with a hook for this event type in this store, as they are there: active, or held."""
        return self._of(organization).listeners(event_type, store)

    def components(self, injection_point: str, organization: str, store: str | None) -> list[Shown]:
        """What active installations show at an injection point in this store, highest priority first."""
        return self._of(organization).components(injection_point, store)

    def _of(self, organization: str) -> _Organization:
        index = self._organizations.get(organization)
        if index is None:
            index = _Organization(self._members.get(organization, {}).values())
            if organization in self._members:
                self._organizations[organization] = index
        return index


class DirectoryFollower:
    """Keeps a :class:`Directory` up to date, from the beginning of the topic to its end and on."""

    def __init__(self, bootstrap: str, directory: Directory) -> None:
        self._bootstrap = bootstrap
        self._directory = directory
        self.caught_up = asyncio.Event()
        """Set once everything that was on the topic at start has been applied."""

    async def run(self) -> None:
        """Follow until cancelled. A broker that is away delays, and is waited for."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                log.warning("directory cannot be followed, trying again", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        partition = TopicPartition(INSTALLATIONS.name, 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=5_000,
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while True:
                if not self.caught_up.is_set() and await consumer.position(partition) >= end:
                    self.caught_up.set()
                    log.info("directory caught up", installations=len(self._directory), offset=end)
                for records in (await consumer.getmany(partition, timeout_ms=200)).values():
                    for record in records:
                        self._apply(record)
        finally:
            await consumer.stop()

    def _apply(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        headers = dict(record.headers)
        try:
            if record.value is None:
                self._directory.remove(record.key.decode())
            else:
                self._directory.put(decode_installation(record.value))
            self._directory.advance(int(headers.get(REVISION_HEADER, b"0")))
        except (msgspec.DecodeError, ValueError, AttributeError) as error:
            log.error("a record of the directory cannot be read", offset=record.offset, error=str(error))
