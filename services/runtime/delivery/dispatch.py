"""From an event to the hooks of the plugins that listen to it."""

from collections.abc import Iterator
from typing import TypeAlias

import asyncpg

from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.topics import entity_of
from services.runtime.delivery.admission import Admission, admission
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger, OrderedKey
from services.runtime.delivery.unit_of_work import InboxKey, already_done
from services.runtime.invocation import source_of
from services.runtime.outbound.webhooks.feed import Owed, WebhookFeed

Owing: TypeAlias = tuple[Arrival, Installation]


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
        await self._webhooks.consume(self._database, self._owed(arrivals))
        listeners = _Listeners(self._directory)
        owed = [(arrival, found) for arrival in arrivals for found in listeners.of(arrival.event)]
        done = await self._done([_key(*pair) for pair in owed if pair[0].seen_before])
        if done:
            owed = [pair for pair in owed if _key(*pair) not in done]
        waits = await self._waits(owed)
        for arrival, installation in owed:
            arrival.owe(1)
            if waits and (installation.id, arrival.key) in waits and self._must_wait(installation, arrival):
                waits[installation.id, arrival.key].append((arrival, installation))
            else:
                self.hooks.submit(arrival, installation)
        for parked in waits.values():
            await self.hooks.park(parked)
        for arrival in arrivals:
            arrival.ended()
        self.hooks.start()

    async def _done(self, keys: list[InboxKey]) -> set[InboxKey]:
        """What was committed before, or is the ledger's business."""
        if not keys:
            return set()
        return await already_done(self._database, keys) | await self._ledger.known(keys)

    async def _waits(self, owed: list[Owing]) -> dict[OrderedKey, list[Owing]]:
        """The keys for which an earlier event waits in the ledger that later ones must not overtake."""
        keys = {(found.id, arrival.key) for arrival, found in owed if self._must_wait(found, arrival)}
        if not keys:
            return {}
        known = self.hooks.failures.waiting_keys
        asked = known.now()
        blocked = await self._ledger.blocked(key for key in keys if key[0] not in known.slow)
        return {
            key: [] for key in sorted(keys) if known.unknown_at(key, asked) or key in blocked or key[0] in known.slow
        }

    def _must_wait(self, installation: Installation, arrival: Arrival) -> bool:
        """Whether it must not overtake what waits, or is not to run now at all."""
        if installation.id in self.hooks.failures.waiting_keys.installations:
            return True
        if admission(installation) is not Admission.RUN:
            return True
        return any(hook.ordered and hook.event == arrival.event.type for hook in installation.manifest.hooks)

    def _owed(self, arrivals: list[Arrival]) -> Iterator[Owed]:
        """What webhooks are to get: what the installation's hook would, and also what the plugin itself changed."""
        for arrival in arrivals:
            event = arrival.event
            if self._webhooks.wants_any(event.type):
                for installation in self._directory.listeners(event.type, event.organization, event.store):
                    if self._webhooks.wants(installation.id, event.type):
                        yield installation, arrival.seen_by(installation)


class _Listeners:
    """Who is called, looked up once for all events of a batch that are alike."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[tuple[str, str, str], tuple[list[Installation], frozenset[str]]] = {}

    def of(self, event: DomainEvent) -> list[Installation]:
        """A plugin that changes an entity is not called for its own change, or it would never end."""
        kind = (event.type, event.organization, event.store)
        found = self._known.get(kind)
        if found is None:
            listeners = self._directory.listeners(*kind)
            changers = listeners if entity_of(event.type) is not None else []
            found = self._known[kind] = (listeners, frozenset(map(source_of, changers)))
        listeners, sources = found
        if event.source not in sources:
            return listeners
        return [installation for installation in listeners if source_of(installation) != event.source]


def _key(arrival: Arrival, installation: Installation) -> InboxKey:
    return InboxKey(installation.id, arrival.event.type, arrival.event.source, arrival.event.id)
