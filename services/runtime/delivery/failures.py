"""What becomes of an event whose hook failed: another attempt after a pause, or a dead letter."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import stamina
import structlog

from outlet.manifest import HookDeclaration
from services.common.runtime_client import PluginFailed
from services.common.tracing import text_of
from services.runtime.delivery.dead_letters import letter, storable
from services.runtime.delivery.lanes import HookRun, Lane
from services.runtime.delivery.ledger import Failure, LeasedEntry, Ledger, NewEntry, OrderedKey
from services.runtime.delivery.unit_of_work import InboxKey, is_transient
from services.runtime.delivery.waiting_keys import WaitingKeys

log = structlog.get_logger(__name__)

MESSAGE_LENGTH = 2_000
STACK_LENGTH = 8_000
FINAL = frozenset({"invalid_event"})
"""Failures that no further attempt can mend: what a plugin's process cannot read now, it never will."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a hook is tried, unless it says otherwise; a hook can only ask for less.

    The pause after the n-th failure is random between 0 and ``first_pause`` * 2^(n-1), at most ``longest_pause``: full
    jitter (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/). Seconds.
    """

    attempts: int = 8
    first_pause: float = 10.0
    longest_pause: float = 3_600.0

    def most_attempts(self, hook: HookDeclaration) -> int:
        return min(hook.attempts or self.attempts, self.attempts)

    def pause(self, hook: HookDeclaration, failures: int, chance: float) -> timedelta:
        """The pause after so many failures; ``chance`` is from 0 to 1."""
        first = hook.first_pause_seconds or self.first_pause
        longest = min(hook.longest_pause_seconds or self.longest_pause, self.longest_pause)
        return timedelta(seconds=min(longest, first * 2.0 ** min(failures - 1, 60)) * chance)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Failures:
    """Keeps failed and parked events in the ledger. Waits for a database that is away: nothing is dropped."""

    def __init__(
        self,
        ledger: Ledger,
        policy: RetryPolicy,
        *,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.waiting_keys = WaitingKeys()
        self._ledger = ledger
        self._policy = policy
        self._now = now
        self._chance = chance
        self._adding = asyncio.Lock()

    async def keep(self, run: HookRun, failure: PluginFailed) -> None:
        """Keep a failed attempt: the first one of an event, or one of an entry of the ledger.

        Behind an ordered hook's event, those that wait for its key are kept too, for their turn.
        """
        hook, now, entry = run.lane.hook(run.event.type), self._now(), run.origin.entry
        attempts = entry.attempts if entry else 1
        most = entry.most_attempts if entry else self._policy.most_attempts(hook)
        kept = Failure(
            code=failure.code,
            message=storable(failure.message)[:MESSAGE_LENGTH],
            stack=storable(failure.stack)[-STACK_LENGTH:],
            at=now,
        )
        if attempts >= most or failure.code in FINAL:
            await self._bury(run, kept, attempts)
            return
        due = now + self._policy.pause(hook, attempts, self._chance())
        if entry is None:
            first = self._entry(run.lane, run, attempts=1, due_at=due, failure=kept, ordered=hook.ordered)
            await self._add_with_those_behind(first, run, ordered_only=True)
            return
        version = run.lane.installation.version
        async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
            with attempt:
                await self._ledger.failed(entry, version, kept, due, ordered=hook.ordered)

    async def bury(self, run: HookRun, entry: LeasedEntry, code: str, reason: str) -> None:
        """Make an event a dead letter that no hook failed."""
        await self._bury(run, Failure(code=code, message=reason, stack="", at=self._now()), entry.attempts)

    async def interrupted(self, run: HookRun) -> None:
        """The guest ended with this event and others in it: it gets another attempt, with the guest for itself."""
        now, entry = self._now(), run.origin.entry
        if entry is None:
            first = self._entry(run.lane, run, due_at=now, alone=True)
            await self._add_with_those_behind(first, run, ordered_only=False)
            return
        async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
            with attempt:
                await self._ledger.give_back([entry.id], now, alone=True)

    def park(self, runs: Sequence[HookRun]) -> Coroutine[Any, Any, None]:
        """Keep events that nobody has tried for their turn, in this order. They have left their lanes.

        From now on they are in the way of later ones of their keys; they are kept when what is returned is awaited.
        """
        now = self._now()
        entries = [self._entry(run.lane, run, due_at=now) for run in runs]
        self.waiting_keys.adding(_ordered_keys(entries))
        return self._park(runs, entries)

    async def _park(self, runs: Sequence[HookRun], entries: list[NewEntry]) -> None:
        await self._in_turn(entries)
        for run in runs:
            run.origin.ended()

    async def _add_with_those_behind(self, first: NewEntry, run: HookRun, *, ordered_only: bool) -> None:
        behind = run.lane.take_behind(run, ordered_only=ordered_only) if first.ordered else []
        now = self._now()
        await self._add([first, *(self._entry(run.lane, each, due_at=now) for each in behind)])
        for each in behind:
            each.origin.ended()

    async def _add(self, entries: list[NewEntry]) -> None:
        self.waiting_keys.adding(_ordered_keys(entries))
        await self._in_turn(entries)

    async def _in_turn(self, entries: list[NewEntry]) -> None:
        async with self._adding:  # the order of the rows is the order of the events
            async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
                with attempt:
                    await self._ledger.add(entries)
        self.waiting_keys.added(_ordered_keys(entries))

    async def _bury(self, run: HookRun, failure: Failure, attempts: int) -> None:
        installation, entry = run.lane.installation, run.origin.entry
        topic, partition, offset = run.origin.position.rsplit("/", 2)
        facts = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "installation": installation.id,
            "plugin": installation.plugin_id,
            "version": installation.version,
            "hook": run.event.type,
            "attempts": str(attempts),
            "at": failure.at.isoformat(),
        }
        event, key = run.origin.event, run.origin.key
        found = letter(event, key, failure.code, failure.message, trace=run.trace, **facts)
        async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
            with attempt:
                if entry is not None:
                    buried = await self._ledger.bury(entry, installation.version, failure, found)
                else:
                    new = self._entry(
                        run.lane, run, attempts=attempts, due_at=failure.at, failure=failure, dead=True, ordered=False
                    )
                    buried = await self._ledger.bury_new(new, found)
        if buried:
            log.warning("dead letter", code=failure.code, reason=failure.message, **facts)

    def _entry(
        self,
        lane: Lane,
        run: HookRun,
        *,
        due_at: datetime,
        attempts: int = 0,
        failure: Failure | None = None,
        dead: bool = False,
        ordered: bool = True,
        alone: bool = False,
    ) -> NewEntry:
        event = run.origin.event
        hook = lane.hook(event.type)
        return NewEntry(
            key=InboxKey(lane.installation.id, event.type, event.source, event.id),
            event=event,
            plugin_id=lane.installation.plugin_id,
            version=lane.installation.version,
            record_key=run.origin.key,
            position=run.origin.position,
            ordered=ordered,
            alone=alone,
            attempts=attempts,
            most_attempts=self._policy.most_attempts(hook),
            due_at=due_at,
            failure=failure,
            dead=dead,
            trace=text_of(run.origin.trace),
        )


def _ordered_keys(entries: Sequence[NewEntry]) -> set[OrderedKey]:
    return {(each.key.installation_id, each.record_key) for each in entries if each.ordered}


def is_transient_exception(error: Exception) -> bool:
    return is_transient(error)
