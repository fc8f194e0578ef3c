"""One call in a guest: what is sent, its result to come, and the API calls it made."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from outlet._frames import Kind
from services.common.events import DomainEvent

ApiHandler = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers one API call ``(method, arguments)``. Raises ApiRefusal for what the plugin is to be told."""

MAX_REQUESTS = 64
MAX_NOTICES = 256
NOTICE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ScopeData:
    """What a guest may know of an installation, or of the ``variant`` that it is in some stores.

    It is sent once per guest and revision. ``payload`` is msgpack of Facts.
    """

    installation_id: str
    revision: int
    payload: bytes
    variant: str = ""


@dataclass(frozen=True, slots=True)
class GuestCall:
    """One call of a handler. ``target`` is the event type, the route or the lifecycle hook; ``payload`` is opaque."""

    kind: Kind
    target: str
    scope: ScopeData
    payload: bytes


class Delivery(Protocol):
    """One event for one installation's hook, on its way through a guest."""

    @property
    def event(self) -> DomainEvent:
        """What the guest gets."""

    def open(self) -> "RunningCall":
        """The hook makes its first API call: whatever answers it, and awaits the outcome, starts now."""

    def ended(self, outcome: Exception | None, seconds: float) -> None:
        """The hook ended, without having made an API call, ``seconds`` after it could begin."""


class RunningCall:
    """A call that was sent. ``ended`` from the moment its caller is no longer there for it.

    Its slot stays taken until the guest has answered, also when the caller went away before.
    """

    def __init__(self, api: ApiHandler, through: Callable[[], None] | None = None) -> None:
        self.api = api
        self.result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.ended = False
        self._through = through
        self._requests: set[asyncio.Task[None]] = set()
        self._notices: set[asyncio.Task[None]] = set()

    def has_room(self, *, notice: bool) -> bool:
        """Whether one more API call may run."""
        return len(self._notices) < MAX_NOTICES if notice else len(self._requests) < MAX_REQUESTS

    def start(self, work: Awaitable[None], *, notice: bool) -> None:
        """Run an API call's answering; a notice is one that the plugin does not wait for."""
        tasks = self._notices if notice else self._requests
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def finish(self, outcome: bytes | Exception) -> None:
        """The guest's part is over, well or badly: ``through`` is called."""
        if self._through is not None:
            self._through()
        self.conclude(outcome)

    async def outcome(self) -> bytes:
        """The result, once no API call of this one runs any more."""
        try:
            return await self.result
        finally:
            await self.settle()

    def conclude(self, outcome: bytes | Exception) -> None:
        """Tell the caller how it ended, unless it knows already."""
        if self.result.done():
            return
        if isinstance(outcome, Exception):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)

    async def settle(self) -> None:
        """The caller goes on: no API call of this one runs any more after this. Notices are let through."""
        self.ended = True
        if not self._requests and not self._notices:
            return
        for request in self._requests:
            request.cancel()
        waiting = self._requests | self._notices
        try:
            _, late = await asyncio.wait(waiting, timeout=NOTICE_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
        if late:
            await asyncio.wait(late)
