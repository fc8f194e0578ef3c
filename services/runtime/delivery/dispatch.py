"""From an event to the hooks of the plugins that listen to it."""

from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

import asyncpg

from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.topics import entity_of
from services.common.tracing import text_of
from services.runtime.delivery.admission import Admission, admission
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.unit_of_work import InboxKey, already_done
from services.runtime.delivery.waiting_keys import WaitingKeys
from services.runtime.invocation import source_of
from services.runtime.outbound.webhooks.feed import Owed, WebhookFeed


class Dispatcher:
    """Decides who is called for an event, and hands it to their lanes."""

    def __init__(
        self,
        directory: Directory,
        database: "asyncpg.Pool[asyncpg.Record]",
        ledger: Ledger,
        hooks: Hooks,
        webhooks: WebhookFeed | None = None,
    ) -> None:
        self._directory = directory
        self._database = database
        self._ledger = ledger
        self.hooks = hooks
        self._webhooks = webhooks or WebhookFeed()

    async def dispatch(self, arrivals: list[Arrival]) -> None:
        """Start the hooks of a batch. A hook whose effects were committed before is not run again.

        That is asked here for what may have been seen before; of the rest, whoever has an effect asks (see UnitOfWork).
        """
        waiting = self.hooks.failures.waiting_keys
        asked = waiting.now()
        await self._webhooks.consume(self._database, self._owed(arrivals))
        listeners = _Listeners(self._directory, waiting)
        owed = [(arrival, *found) for arrival in arrivals for found in listeners.of(arrival.event)]
        done = await self._done([_key(arrival, found) for arrival, found, _ in owed if arrival.seen_before])
        if done:
            owed = [each for each in owed if _key(each[0], each[1]) not in done]
        blocked = await self._ledger.blocked(
            {(found.id, arrival.key) for arrival, found, course in owed if course is _Course.ASK}
        )
        kept: dict[str, tuple[Installation, list[Arrival]]] = {}
        for arrival, found, course in owed:
            arrival.owe(1)
            if course is _Course.GO and found.id not in waiting.installations:
                self.hooks.submit(arrival, found)
                continue
            key = (found.id, arrival.key)
            if course is _Course.KEEP or key in blocked or waiting.unknown_at(key, asked):
                kept.setdefault(found.id, (found, []))[1].append(arrival)
            else:
                self.hooks.submit(arrival, found)
        for installation, waiting_ones in kept.values():
            self.hooks.park(waiting_ones, installation)
        for arrival in arrivals:
            arrival.ended()
        self.hooks.start()

    async def _done(self, keys: list[InboxKey]) -> set[InboxKey]:
        """What was committed before, or is the ledger's business."""
        if not keys:
            return set()
        return await already_done(self._database, keys) | await self._ledger.known(keys)

    def _owed(self, arrivals: list[Arrival]) -> Iterator[Owed]:
        """What webhooks are to get: what the installation's hook would, and also what the plugin itself changed."""
        for arrival in arrivals:
            event = arrival.event
            if self._webhooks.wants_any(event.type):
                for installation in self._directory.listeners(event.type, event.organization, event.store):
                    if self._webhooks.wants(installation.id, event.type):
                        yield installation, arrival.seen_by(installation), text_of(arrival.trace)


class _Course(Enum):
    """Of the events of one type for one installation: they go on, unless one waits (ASK), or are kept in the ledger."""

    GO = "go"
    ASK = "ask"
    KEEP = "keep"


class _Listeners:
    """Who is called and how, looked up once for all events of a batch that are alike."""

    def __init__(self, directory: Directory, waiting: WaitingKeys) -> None:
        self._directory = directory
        self._waiting = waiting
        self._known: dict[tuple[str, str, str], tuple[list[Listener], frozenset[str]]] = {}

    def of(self, event: DomainEvent) -> "list[Listener]":
        """A plugin that changes an entity is not called for its own change, or it would never end."""
        kind = (event.type, event.organization, event.store)
        found = self._known.get(kind)
        if found is None:
            listeners = [(each, self._course(each, event.type)) for each in self._directory.listeners(*kind)]
            changers = listeners if entity_of(event.type) is not None else []
            found = self._known[kind] = (listeners, frozenset(source_of(each) for each, _ in changers))
        listeners, sources = found
        if event.source not in sources:
            return listeners
        return [each for each in listeners if source_of(each[0]) != event.source]

    def _course(self, installation: Installation, event: str) -> _Course:
        if installation.id in self._waiting.slow or admission(installation) is not Admission.RUN:
            return _Course.KEEP
        if installation.id in self._waiting.installations:
            return _Course.ASK
        ordered = any(hook.ordered and hook.event == event for hook in installation.manifest.hooks)
        return _Course.ASK if ordered else _Course.GO


Listener: TypeAlias = tuple[Installation, _Course]


def _key(arrival: Arrival, installation: Installation) -> InboxKey:
    return InboxKey(installation.id, arrival.event.type, arrival.event.source, arrival.event.id)
