"""Runs background work, ticks and jobs alike, through the same invoker as hooks and routes."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import asyncpg
import structlog

from outlet import _values
from outlet._calls import JobCall, TickCall
from services.common.database import DATABASE_ERRORS
from services.common.directory import Directory, Installation
from services.common.events import ORGANIZATION_WIDE, DomainEvent
from services.common.runtime_client import PLUGIN_REVOKED, PluginFailed
from services.common.tracing import OFF, Tracing, current, of_text
from services.runtime import spans
from services.runtime.background.retries import MOST_ATTEMPTS, pause_before
from services.runtime.background.scheduler import utc_now
from services.runtime.background.work import JOBS, TICKS, Work, WorkQueue
from services.runtime.delivery.dead_letters import letter
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.reporting import Reporter
from services.runtime.sandbox.payloads import job_payload, tick_payload
from services.runtime.turns import take_turns

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)
RENEW_SECONDS = 10.0
AT_ONCE = 32
"""Pieces of work that run in one worker at the same time."""
BATCH = 4
PER_INSTALLATION = 4
"""An installation that has so many running gets no more for now: half of a sandbox stays free for hooks and routes."""


class BackgroundRunner:
    """Takes due work of active installations, and a little of those on trial; runs it and brings each piece to an end:
    done, tried again, or kept.
    """

    def __init__(
        self,
        directory: Directory,
        database: "asyncpg.Pool[asyncpg.Record]",
        invoker: Invoker,
        reporter: Reporter,
        *,
        deadline: float,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        tracing: Tracing = OFF,
    ) -> None:
        self._directory = directory
        self._queue = WorkQueue(database, uuid.uuid4().hex)
        self._invoker = invoker
        self._reporter = reporter
        self._deadline = deadline
        self._now = now
        self._chance = chance
        self._tracing = tracing
        self._running: dict[str, tuple[Work, asyncio.Task[None]]] = {}
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled, then :meth:`close`."""
        try:
            await take_turns(self.turn, self.renew, self._ended, of="background work", renew_seconds=RENEW_SECONDS)
        finally:
            await self.close()

    async def turn(self) -> "list[asyncio.Task[None]]":
        """Start what is due and may run now; what was started."""
        room = min(BATCH, AT_ONCE - len(self._running))
        if room <= 0:
            return []
        now = self._now()
        busy = Counter(work.installation_id for work, _ in self._running.values())
        due = await self._queue.due(now)
        rooms = {found: self._limit(found) - busy[found] for found in due}
        leased: list[Work] = []
        active = [found for found in due if rooms[found] > 0 and not self._on_trial(found)]
        if active:
            leased += await self._queue.lease(active, now, now + LEASE, room)
        for found in due:
            if self._on_trial(found) and (left := min(rooms[found], room - len(leased))) > 0:
                leased += await self._queue.lease([found], now, now + LEASE, left)
        return [self._start(work) for work in leased]

    async def renew(self) -> None:
        """Keep the leases of what runs. What another worker has taken over is stopped here."""
        running = dict(self._running)
        if not running:
            return
        held = await self._queue.renew(list(running), self._now() + LEASE)
        for lost in running.keys() - held:
            running[lost][1].cancel()

    async def close(self) -> None:
        """Stop what runs and give it back: another worker can take it at once."""
        running = list(self._running.values())
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)
        for work, _ in running:
            try:
                await self._queue.postpone(work, self._now(), work.attempts)
            except DATABASE_ERRORS as error:
                log.warning("background work waits for the end of its lease", id=work.id, error=repr(error))

    def _start(self, work: Work) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._do(work), name=f"{work.kind} {work.name}")
        self._running[work.id] = (work, task)
        task.add_done_callback(partial(self._leave, work))
        return task

    async def _do(self, work: Work) -> None:
        installed = self._of(work.installation_id)
        if installed is None:  # deactivated between the look and the lease
            await self._queue.postpone(work, self._now(), work.attempts)
            return
        installation = installed.at(work.store_id)
        begun = time.perf_counter()
        invocation = self._invocation(installation, work)
        try:
            more = {spans.ATTEMPT: work.attempts + 1}
            with spans.calling(self._tracing, invocation, of_text(work.trace), **more) as invocation:
                await self._invoker.run(invocation)
            self._ran(installation, work, begun, failed=False)
        except PluginFailed as failure:
            if failure.code == PLUGIN_REVOKED:  # it waits as that of a plugin that is not active does
                await self._queue.postpone(work, self._now(), work.attempts)
                return
            self._ran(installation, work, begun, failed=True)
            with self._tracing.within(invocation.trace):
                await self._failed(installation, work, failure)
            return
        await self._queue.done(work)

    def _ran(self, installation: Installation, work: Work, begun: float, *, failed: bool) -> None:
        hook = f"{work.kind} {work.name}"
        self._reporter.hook_ran(installation, hook, work.store_id, time.perf_counter() - begun)
        if work.attempts:
            self._reporter.retried(installation, hook, work.store_id, failed=failed)

    async def _failed(self, installation: Installation, work: Work, failure: PluginFailed) -> None:
        attempts = work.attempts + 1
        self._reporter.failed(installation, f"{work.kind} {work.name}", failure, work.id, work.store_id)
        if attempts < MOST_ATTEMPTS:
            pause = pause_before(attempts, self._chance())
            await self._queue.postpone(work, self._now() + pause, attempts)
            return
        event = _event(installation, work)
        facts = {
            "installation": installation.id,
            "plugin": installation.plugin_id,
            "version": installation.version,
            "kind": work.kind,
            "name": work.name,
            "attempts": str(attempts),
            "at": self._now().isoformat(),
        }
        key = event.record_key(installation.id).encode()
        found = letter(event, key, failure.code, failure.message, trace=current(), **facts)
        if await self._queue.bury(work, self._invocation(installation, work).key, found):
            log.warning("dead letter", code=failure.code, reason=failure.message, **facts)

    def _invocation(self, installation: Installation, work: Work) -> Invocation:
        if work.kind == "schedule":
            payload = tick_payload(TickCall(work.id, work.name, work.payload.decode()))
        else:
            enqueued = work.created_at.isoformat()
            payload = job_payload(JobCall(work.id, work.name, work.payload, work.attempts + 1, enqueued))
        return Invocation(
            installation=installation,
            kind=work.kind,
            target=work.name,
            source=_source(work),
            id=work.id,
            store=work.store_id,
            payload=payload,
            deadline=self._deadline,
        )

    def _of(self, installation_id: str) -> Installation | None:
        found = self._directory.get(installation_id)
        if found is None or found.updating or not (found.status == "active" or self._on_trial(installation_id)):
            return None
        return found

    def _on_trial(self, installation_id: str) -> bool:
        """Whether its circuit breaker lets a few through, to see whether the plugin works again."""
        found = self._directory.get(installation_id)
        return found is not None and found.held and found.breaker.state == "half_open"

    def _limit(self, installation_id: str) -> int:
        """How much of an installation's work may run at a time."""
        found = self._of(installation_id)
        if found is None:
            return 0
        return min(found.breaker.probes, PER_INSTALLATION) if found.held else PER_INSTALLATION

    def _leave(self, work: Work, task: "asyncio.Task[None]") -> None:
        self._running.pop(work.id, None)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease stays and runs out; then the work is taken again, here or elsewhere.
            log.error("background work did not come to an end", id=work.id, name=work.name, exc_info=error)


def _source(work: Work) -> str:
    return TICKS if work.kind == "schedule" else JOBS


def _event(installation: Installation, work: Work) -> DomainEvent:
    """What the work would be as an event: its payload as JSON."""
    payload = work.payload.decode() if work.kind == "schedule" else _values.decode(work.payload)
    return DomainEvent(
        id=work.id,
        type=f"{installation.plugin_id}/{work.name}",
        source=_source(work),
        time=work.planned_at.isoformat(),
        organization=installation.organization_id,
        store=work.store_id or ORGANIZATION_WIDE,
        data=json.dumps(payload, default=str).encode(),
    )
