"""Brings the entries of the attempt ledger back to their hooks when they are due."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from services.common.database import DATABASE_ERRORS
from services.common.events import DomainEvent
from services.common.tracing import of_text
from services.runtime.commerce.personal_data import Hidden
from services.runtime.commerce.redaction import without
from services.runtime.delivery.admission import Admission, admission
from services.runtime.delivery.failures import Failures, utc_now
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import LeasedEntry, Ledger
from services.runtime.turns import take_turns

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 15.0
HELD_AT_ONCE = 256
PER_INSTALLATION = 64


class Retry:
    """An entry on its way to its hook: an origin, as what comes from Kafka is another."""

    __slots__ = ("_entry", "_runner", "failed", "sampled", "trace")

    def __init__(self, entry: LeasedEntry, runner: "RetryRunner") -> None:
        self.failed = False
        """Whether the ledger knows already how the attempt ended."""
        self.trace = of_text(entry.trace)
        self.sampled = self.trace is not None and self.trace.trace_flags.sampled
        self._entry = entry
        self._runner = runner

    @property
    def position(self) -> str:
        return self._entry.position

    @property
    def entry(self) -> LeasedEntry:
        return self._entry

    def kept(self) -> None:
        self.failed = True

    @property
    def event(self) -> DomainEvent:
        return self.entry.event

    @property
    def key(self) -> bytes:
        return self.entry.record_key

    def view(self, hidden: Hidden) -> DomainEvent:
        return without(hidden, self.entry.event)

    def ended(self) -> None:
        self._runner.ended(self)

    def give_back(self) -> None:
        self._runner.give_back(self)


class RetryRunner:
    """Leases due entries of active installations, and hands them to their lanes beside what comes from Kafka."""

    def __init__(
        self,
        ledger: Ledger,
        hooks: Hooks,
        failures: Failures,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._ledger = ledger
        self._hooks = hooks
        self._failures = failures
        self._now = now
        self._held: dict[int, Retry] = {}
        self._succeeded: list[int] = []
        self._returned: list[int] = []
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled, then :meth:`close`."""
        try:
            await take_turns(self.turn, self.renew, self._moved, of="the attempt ledger", renew_seconds=RENEW_SECONDS)
        finally:
            await self.close()

    async def turn(self) -> int:
        """Write down what has ended, and start what is due and may run now; how much was started."""
        await self._write_down()
        waiting_keys = self._failures.waiting_keys
        asked = waiting_keys.now()
        waiting_keys.heard(await self._ledger.in_turn(), asked)
        now = self._now()
        await self._bury(now)
        started = await self._start_probes(now) + await self._start_due(now)
        if started:
            self._hooks.start()
        return started

    async def _start_due(self, now: datetime) -> int:
        room, busy = HELD_AT_ONCE - len(self._held), self._busy()
        eligible = [each for each in await self._due(now, Admission.RUN) if busy[each] < PER_INSTALLATION]
        return await self._lease(eligible, now, min(room, PER_INSTALLATION))

    async def _start_probes(self, now: datetime) -> int:
        """Of installations whose circuit breaker is half open: no more at a time than it lets through."""
        started, busy = 0, self._busy()
        for each in await self._due(now, Admission.PROBE):
            installation = self._hooks.installation(each)
            if installation is not None:
                started += await self._lease([each], now, installation.breaker.probes - busy[each])
        return started

    async def _due(self, now: datetime, wanted: Admission) -> list[str]:
        due = await self._ledger.due(now)
        return [each for each in due if admission(self._hooks.installation(each)) is wanted]

    def _busy(self) -> "Counter[str]":
        return Counter(retry.entry.installation_id for retry in self._held.values())

    async def _lease(self, installations: list[str], now: datetime, most: int) -> int:
        if not installations or most <= 0:
            return 0
        entries = await self._ledger.lease(installations, now, now + LEASE, most)
        for entry in entries:
            if not await self._buried_without_hook(entry):
                self._start(entry)
        return len(entries)

    async def _buried_without_hook(self, entry: LeasedEntry) -> bool:
        """An event that waited for a hook which the installation's present version does not have is a dead letter."""
        installation = self._hooks.installation(entry.installation_id)
        event = entry.event.type
        if installation is None or any(hook.event == event for hook in installation.manifest.hooks):
            return False
        reason = f"version {installation.version} of the plugin has no hook for {event}"
        stray = self._hooks.stray(Retry(entry, self), installation)
        await self._failures.bury(stray, entry, "hook_gone", reason)
        return True

    def ended(self, retry: Retry) -> None:
        """The attempt has ended."""
        if self._held.pop(retry.entry.id, None) is not None and not retry.failed:
            self._succeeded.append(retry.entry.id)
            self._moved.set()

    def give_back(self, retry: Retry) -> None:
        """The attempt was not made."""
        if self._held.pop(retry.entry.id, None) is not None:
            self._returned.append(retry.entry.id)
            self._moved.set()

    async def renew(self) -> None:
        """Keep the leases of what runs. What another worker has taken over is its own; the inbox keeps us apart."""
        held = list(self._held)
        if held:
            kept = await self._ledger.renew(held, self._now() + LEASE)
            for lost in set(held) - kept:
                self._held.pop(lost, None)

    async def close(self) -> None:
        """Give back what has not ended: another worker can take it at once."""
        self._returned += self._held
        self._held.clear()
        try:
            await self._write_down()
        except DATABASE_ERRORS as error:
            log.warning("entries of the ledger wait for the end of their lease", error=repr(error))

    async def _write_down(self) -> None:
        succeeded, returned = list(self._succeeded), list(self._returned)
        if succeeded:
            await self._ledger.succeeded(succeeded, self._now())
            del self._succeeded[: len(succeeded)]
        if returned:
            await self._ledger.give_back(returned, self._now())
            del self._returned[: len(returned)]

    async def _bury(self, now: datetime) -> None:
        for entry in await self._ledger.lease_exhausted(now, now + LEASE, PER_INSTALLATION):
            installation = self._hooks.installation(entry.installation_id)
            if installation is not None:
                lost = self._hooks.stray(Retry(entry, self), installation)
                await self._failures.bury(lost, entry, "attempt_lost", "the worker ended during the last attempt")

    def _start(self, entry: LeasedEntry) -> None:
        retry = self._held[entry.id] = Retry(entry, self)
        installation = self._hooks.installation(entry.installation_id)
        if installation is None or admission(installation) not in (Admission.RUN, Admission.PROBE):
            retry.give_back()  # deactivated between the look and the lease
        else:
            self._hooks.submit(retry, installation)


def new_holder() -> str:
    """Who leases entries: unique to the process, whatever the worker's name."""
    return uuid.uuid4().hex
