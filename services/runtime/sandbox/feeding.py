"""Keeps one guest supplied with events: of several installations in turn, and no more than it soon gets through."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from outlet.manifest import Limits
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox.guest import Guest
from services.runtime.sandbox.invocation import Delivery, ScopeData
from services.runtime.sandbox.slots import Slots

log = structlog.get_logger(__name__)

MOST_SENT = 256
"""Events in one guest at a time."""
MOST_AT_A_TURN = 64
"""Events of one installation before it is the next one's turn."""
MOST_BYTES = 96 * 1024
"""Of the events of one frame."""
SENT_SECONDS = 0.03
"""As many events are in a guest as it gets through in this time: enough to keep it busy, and it is soon free again."""
FIRST_SENT = 16
PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class HookSource(Protocol):
    """The events of one installation that wait for its hooks."""

    @property
    def scope(self) -> ScopeData:
        """What the guest is told of the installation."""

    @property
    def deadline(self) -> float:
        """Seconds for one hook."""

    @property
    def limits(self) -> Limits:
        """What the manifest asks for."""

    @property
    def per_slot(self) -> int:
        """How many of its hooks may run in the place of one call."""

    def take(self, most: int, most_bytes: int) -> Sequence[Delivery]:
        """The next events, at least one if there is any: none when there are no more for now."""


class HookFeed:
    """Of one seat. Holds slots while events are in the guest, and lets those go first who wait for one.

    ``usable_guest`` gives the guest, new if need be, and raises PluginFailed when the plugin cannot be loaded; whatever
    OSError it raises is the platform's failure, and is tried again. At most ``most_at_once`` hooks run at a time.
    """

    def __init__(self, slots: Slots, most_at_once: int, usable_guest: Callable[[], Awaitable[Guest]]) -> None:
        self._slots = slots
        self._most_at_once = most_at_once
        self._usable_guest = usable_guest
        self._loop = asyncio.get_running_loop()
        self._sources: deque[HookSource] = deque()
        self._known: set[HookSource] = set()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._held = 0
        self._sent = 0
        self._limit = float(FIRST_SENT)
        self._at_once = 0
        self._told_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to feed and nothing to wait for."""
        return self._task is None

    def offer(self, source: HookSource) -> None:
        """There are events at ``source``: take them, in turn with those of the others."""
        if source not in self._known:
            self._known.add(source)
            self._sources.append(source)
        self._moved.set()
        if self._task is None:
            self._task = self._loop.create_task(self._feed())
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Take nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            raise error  # a defect: for the loop's handler to tell
        if self._sources:
            self.offer(self._sources[0])

    async def _feed(self) -> None:
        pause = PAUSE_SECONDS
        while self._sources:
            self._held = await self._slots.take_up_to(self._most_at_once)
            try:
                await self._while_nobody_waits()
                pause = PAUSE_SECONDS
            except PluginFailed as failure:
                for delivery in self._next(int(self._limit)):
                    delivery.ended(failure, 0.0)
            except OSError as error:  # no guest, or no package for it
                log.warning("events wait for a guest", error=repr(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            finally:
                self._slots.give_back(self._held)

    async def _while_nobody_waits(self) -> None:
        """Feed until the guest has nothing more, and there is nothing more or somebody else's turn has come."""
        while True:
            self._moved.clear()
            if self._sources and not self._slots.wanted and self._sent < self._most_sent():
                self._send(await self._usable_guest())
            elif self._sent:
                await self._moved.wait()
            else:
                return

    def _send(self, guest: Guest) -> None:
        source = self._sources[0]
        deliveries = self._next(self._most_sent() - self._sent)
        if not deliveries:
            return
        if self._sent == 0:
            self._told_at = self._loop.time()
            self._at_once = 0
        self._held += self._slots.take_free(self._most_at_once - self._held)
        self._sent += len(deliveries)
        # It does not shrink while there are events in the guest; who wants fewer sends fewer.
        self._at_once = max(self._at_once, self._held * source.per_slot)
        guest.send_events(source.scope, deliveries, self._at_once, source.deadline, self._told)

    def _next(self, most: int) -> Sequence[Delivery]:
        """Events of the source whose turn it is."""
        source = self._sources.popleft()
        deliveries = source.take(min(most, MOST_AT_A_TURN), MOST_BYTES)
        if deliveries:
            self._sources.append(source)
        else:
            self._known.discard(source)
        return deliveries

    def _most_sent(self) -> int:
        """Events in the guest at a time, when the source whose turn it is sends some."""
        if self._sources and self._sources[0].per_slot == 1 and self._at_once > self._held:
            return self._held
        return max(int(self._limit), self._held)

    def _told(self, count: int) -> None:
        if count == 0:
            return
        now = self._loop.time()
        each = max((now - self._told_at) / count, 1e-6)
        self._told_at = now
        self._limit = min(0.75 * self._limit + 0.25 * SENT_SECONDS / each, MOST_SENT)
        self._sent -= count
        self._moved.set()
