"""Runs the hooks of the events in the lanes, and brings each to its end: kept, tried again, or a dead letter."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from services.common.directory import Directory, Installation
from services.common.runtime_client import PLUGIN_REVOKED, PluginFailed
from services.common.tracing import OFF, Tracing
from services.runtime.delivery.failures import Failures
from services.runtime.delivery.lanes import HookRun, Lane
from services.runtime.delivery.origins import Origin
from services.runtime.delivery.shared_work import Sharing
from services.runtime.delivery.unit_of_work import AlreadyDone
from services.runtime.invocation import Invocation
from services.runtime.invoker import Attempt, Invoker, PlatformFailed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.reporting import Reporter
from services.runtime.sandbox import PluginInterrupted, RunningCall, SandboxPool


class Hooks:
    """``crashed`` is called when a hook could not be brought to an end at all: its record is then not finished.

    A hook that makes no API call costs no task of its own here: most of what follows is for those that do.
    """

    def __init__(
        self,
        directory: Directory,
        sandbox: SandboxPool,
        invoker: Invoker,
        reporter: Reporter,
        failures: Failures,
        *,
        deadline: float,
        tracing: Tracing = OFF,
    ) -> None:
        self.tracing = tracing
        self._directory = directory
        self._sandbox = sandbox
        self._invoker = invoker
        self._reporter = reporter
        self.failures = failures
        self._deadline = deadline
        self._lanes: dict[str, Lane] = {}
        self._fresh: dict[str, Lane] = {}
        self._sharing: dict[str, Sharing] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.crashed: Callable[[BaseException], None] = _raise

    def submit(self, origin: Origin, installation: Installation) -> None:
        """Owe an event to an installation. It runs from the next :meth:`start` on."""
        lane = self._lanes.get(installation.id)
        if lane is None:
            # A lane has the events of all stores.
            lane = self._lanes[installation.id] = Lane(installation.at(None), self, self._deadline)
        lane.submit(origin)
        self._fresh[installation.id] = lane

    def stray(self, origin: Origin, installation: Installation) -> HookRun:
        """An event that is not to run, as something that can be kept."""
        return HookRun(Lane(installation, self, self._deadline), origin)

    def park(self, origins: Sequence[Origin], installation: Installation) -> None:
        """Keep events that are owed to an installation in the ledger, for their turn; nobody waits for that."""
        lane = Lane(installation, self, self._deadline)
        self._start(self.failures.park([HookRun(lane, origin) for origin in origins]))

    def lanes(self) -> list[Lane]:
        """Those that have work."""
        return list(self._lanes.values())

    def start(self) -> None:
        """Run what was submitted."""
        fresh, self._fresh = self._fresh, {}
        for lane in fresh.values():
            self.waiting(lane)

    async def close(self) -> None:
        """Stop what runs; it is delivered again to whoever takes the partitions over."""
        self._closed = True
        await asyncio.sleep(0)  # a task that is cancelled before its first step never gives back what was opened for it
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def installation(self, installation_id: str) -> Installation | None:
        return self._directory.get(installation_id)

    def hold(self, lane: Lane) -> None:
        runs = lane.take_untried()
        if runs:
            self._start(self.failures.park(runs))

    def shares(self, lane: Lane) -> bool:
        installation = lane.installation
        sharing = self._sharing.get(installation.id)
        return not installation.manifest.hosts and (sharing is None or sharing.untroubled)

    def waiting(self, lane: Lane) -> None:
        if not self._closed:
            self._sandbox.feed(lane.guest_key, lane)

    def empty(self, lane: Lane) -> None:
        if self._lanes.get(lane.installation.id) is lane:
            del self._lanes[lane.installation.id]
            sharing = self._sharing.get(lane.installation.id)
            if sharing is not None and sharing.untroubled:
                del self._sharing[lane.installation.id]

    def open(self, run: HookRun) -> RunningCall:
        if self._closed:
            refused = RunningCall(_refuse)
            refused.result.add_done_callback(lambda result: result.exception())  # nobody waits for it
            return refused
        invocation = run.invocation
        # What has failed before runs in a transaction of its own.
        sharing = self._sharing_of(invocation) if run.origin.entry is None else None
        attempt = self._invoker.open(invocation, sharing)
        running = RunningCall(attempt.answer)
        self._start(self._conclude(run, attempt, running))
        return running

    def ended(self, run: HookRun, outcome: Exception | None, seconds: float) -> None:
        if self._closed:
            return
        if outcome is None:
            self._succeeded(run, seconds)
        else:
            self._start(self._failed(run, outcome, seconds))

    def call_alone(self, run: HookRun) -> None:
        entry = run.origin.entry
        self._start(self._again(run, alone=entry is not None and entry.alone))

    async def _conclude(self, run: HookRun, attempt: Attempt, running: RunningCall) -> None:
        began = time.monotonic()
        try:
            await attempt.conclude(running.outcome())
        except AlreadyDone:
            run.finish()
        except (PluginFailed, PluginInterrupted, PlatformFailed) as failure:
            await self._failed(run, failure, time.monotonic() - began)
        else:
            self._succeeded(run, time.monotonic() - began)

    def _succeeded(self, run: HookRun, seconds: float) -> None:
        self._ran(run, seconds, failed=False)
        run.finish()

    async def _failed(self, run: HookRun, outcome: Exception, seconds: float) -> None:
        if isinstance(outcome, PluginFailed) and outcome.code != PLUGIN_REVOKED:
            await self._keep(run, outcome, seconds)
        elif isinstance(outcome, PluginInterrupted | PluginFailed):
            await self.failures.interrupted(run)
            run.origin.kept()
            run.finish("plugin_interrupted")
        else:
            await self._again(run, alone=False)

    async def _again(self, run: HookRun, *, alone: bool) -> None:
        """An event by itself, for as long as it takes: what the platform failed, what is large, or may be to blame."""
        began = time.monotonic()
        try:
            await self._invoker.run(run.invocation, alone=alone)
        except PluginFailed as failure:
            await self._failed(run, failure, time.monotonic() - began)
        else:
            self._succeeded(run, time.monotonic() - began)

    async def _keep(self, run: HookRun, failure: PluginFailed, seconds: float) -> None:
        installation, event = run.lane.installation, run.event
        self._ran(run, seconds, failed=True)
        with self.tracing.within(run.trace):
            self._reporter.failed(installation, event.type, failure, event.id, event.store)
            await self.failures.keep(run, failure)
        run.origin.kept()
        run.finish(failure.code)

    def _ran(self, run: HookRun, seconds: float, *, failed: bool) -> None:
        installation, event, entry = run.lane.installation, run.event, run.origin.entry
        self._reporter.hook_ran(installation, event.type, event.store, seconds)
        if entry is not None and entry.attempts > 1:
            self._reporter.retried(installation, event.type, event.store, failed=failed)

    def _sharing_of(self, invocation: Invocation) -> Sharing | None:
        if invocation.installation.manifest.hosts:
            return None  # it can call out, which no transaction undoes
        found = self._sharing.get(invocation.installation.id)
        if found is None:
            found = self._sharing[invocation.installation.id] = self._invoker.sharing(invocation)
        return found

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._through)

    def _through(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crashed(error)


async def _refuse(method: str, arguments: dict[str, Any]) -> Any:
    raise ApiRefusal("platform_stopping", "this worker stops: the event is delivered again")


def _raise(error: BaseException) -> None:
    raise error
