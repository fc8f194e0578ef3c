"""From an event to the hooks of the plugins that listen to it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import asyncpg
from aiokafka import ConsumerRecord

from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed
from services.common.topics import entity_of
from services.runtime.commerce.personal_data import Hidden, hidden_from
from services.runtime.commerce.redaction import without
from services.runtime.delivery.dead_letters import DeadLetters
from services.runtime.delivery.lanes import Lanes
from services.runtime.delivery.unit_of_work import InboxKey, already_done
from services.runtime.invocation import Invocation, source_of
from services.runtime.invoker import Invoker
from services.runtime.outbound.webhooks.feed import Owed, WebhookFeed
from services.runtime.reporting import Reporter
from services.runtime.sandbox import hook_payload


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record and the event read from it."""

    record: "ConsumerRecord[bytes, bytes]"
    event: DomainEvent
    views: dict[Hidden, DomainEvent] = field(default_factory=dict)

    def seen_by(self, installation: Installation) -> DomainEvent:
        """The event without the personal data that the installation was not granted; made once for all alike."""
        hidden = hidden_from(installation.grants)
        view = self.views.get(hidden)
        if view is None:
            view = self.views[hidden] = without(hidden, self.event)
        return view


class Dispatcher:
    """Decides who is called for an event, calls them in order per installation and key, and keeps what they fail."""

    def __init__(
        self,
        directory: Directory,
        database: "asyncpg.Pool[asyncpg.Record]",
        invoker: Invoker,
        reporter: Reporter,
        dead_letters: DeadLetters,
        hook_deadline: float,
        webhooks: WebhookFeed | None = None,
    ) -> None:
        self._directory = directory
        self._database = database
        self._invoker = invoker
        self._reporter = reporter
        self._dead_letters = dead_letters
        self._hook_deadline = hook_deadline
        self._webhooks = webhooks or WebhookFeed()
        self._lanes = Lanes()

    async def dispatch(
        self,
        arrivals: list[Arrival],
        finished: Callable[["ConsumerRecord[bytes, bytes]"], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        """Start the hooks of a batch; ``finished`` is called for each record once all of its hooks have ended.

        A hook whose effects were committed before is not run again. ``crashed`` is called when a hook could not be
        brought to an end at all: the record is then not finished, and the worker must stop.
        """
        await self._webhooks.consume(self._database, self._owed(arrivals))
        planned = [(arrival, self._listeners(arrival.event)) for arrival in arrivals]
        keys = [_key(found, arrival.event) for arrival, listeners in planned for found in listeners]
        done = await already_done(self._database, keys)
        for arrival, listeners in planned:
            due = [found for found in listeners if _key(found, arrival.event) not in done]
            ended = _Countdown(len(due), partial(finished, arrival.record), crashed)
            for installation in due:
                lane = (installation.id, arrival.record.key)
                task = self._lanes.submit(lane, partial(self._deliver, arrival, installation))
                task.add_done_callback(ended)

    async def close(self) -> None:
        """Stop what still runs; it is delivered again to whoever takes the partitions over."""
        await self._lanes.close()

    def _owed(self, arrivals: list[Arrival]) -> Iterator[Owed]:
        """What webhooks are to get: what the installation's hook would, and also what the plugin itself changed."""
        for arrival in arrivals:
            event = arrival.event
            if self._webhooks.wants_any(event.type):
                for installation in self._directory.listeners(event.type, event.organization, event.store):
                    if self._webhooks.wants(installation.id, event.type):
                        yield installation, arrival.seen_by(installation)

    def _listeners(self, event: DomainEvent) -> list[Installation]:
        """Who is called; a plugin that changes an entity is not called for its own change, or it would never end."""
        found = self._directory.listeners(event.type, event.organization, event.store)
        if entity_of(event.type) is None:
            return found
        return [installation for installation in found if event.source != source_of(installation)]

    async def _deliver(self, arrival: Arrival, installation: Installation) -> None:
        event = arrival.event
        # Judged when its turn comes: what was deactivated while the event waited does not run any more.
        current = self._directory.get(installation.id)
        if current is None or current.status != "active":
            return
        invocation = Invocation(
            installation=current,
            kind="hook",
            target=event.type,
            source=event.source,
            id=event.id,
            store=event.store,
            payload=hook_payload(arrival.seen_by(current)),
            deadline=self._hook_deadline,
        )
        begun = time.perf_counter()
        try:
            await self._invoker.run(invocation)
            self._reporter.hook_ran(current, event.type, event.store, time.perf_counter() - begun)
        except PluginFailed as failure:
            self._reporter.hook_ran(current, event.type, event.store, time.perf_counter() - begun)
            self._reporter.failed(current, event.type, failure, event.id, event.store)
            await self._dead_letters.publish(
                arrival.record,
                failure.code,
                failure.message,
                installation=current.id,
                plugin=current.plugin_id,
                version=current.version,
                hook=event.type,
            )


class _Countdown:
    """Calls ``finished`` after so many tasks ended well; ``crashed`` when one did not."""

    def __init__(self, count: int, finished: Callable[[], None], crashed: Callable[[BaseException], None]) -> None:
        self._left = count
        self._finished = finished
        self._crashed = crashed
        if count == 0:
            finished()

    def __call__(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        if error := task.exception():
            self._crashed(error)
            return
        self._left -= 1
        if self._left == 0:
            self._finished()


def _key(installation: Installation, event: DomainEvent) -> InboxKey:
    return InboxKey(installation.id, event.type, event.source, event.id)
