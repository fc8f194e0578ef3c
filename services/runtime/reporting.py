"""Tells what plugins did: summaries per installation and second, on ``outlet.executions``."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.common.directory import Installation
from services.common.events import ORGANIZATION_WIDE
from services.common.latency import BUCKETS, bucket_of, sparse
from services.common.reports import ExecutionError, ExecutionSummary, HookSummary, encode_summary, is_route
from services.common.runtime_client import PluginFailed
from services.common.topics import EXECUTIONS
from services.runtime.route_names import route_name

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
ERRORS_PER_SUMMARY = 10
MESSAGE_LENGTH = 2_000
STACK_LENGTH = 8_000
HOOKS_PER_SUMMARY = 200
"""Hooks and stores in one summary, at most; what is more goes into further ones. One takes some 300 bytes."""


@dataclass(slots=True)
class _HookCounts:
    """What one hook did in one store."""

    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    errors: int = 0
    retries: int = 0
    failed_retries: int = 0


@dataclass(slots=True)
class _Counts:
    """What one installation did in one of its states."""

    installation: Installation
    hooks: dict[tuple[str, str], _HookCounts] = field(default_factory=dict)
    api_calls: int = 0
    errors: list[ExecutionError] = field(default_factory=list)


@dataclass
class Totals:
    """Counts of all installations together, since the process began. ``failures``: by the code of the failure."""

    hook_runs: int = 0
    route_calls: int = 0
    api_calls: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class Reporter:
    """Counts in memory and publishes every second. What a killed worker had not published is lost: statistics only.

    ``hook`` is the event type, ``schedule <name>`` or ``job <name>``; ``store`` None: the call was about none.
    """

    def __init__(self, producer: AIOKafkaProducer, worker_id: str) -> None:
        self._producer = producer
        # Sequences start again with the process, so the process is what they count for.
        self._worker_id = f"{worker_id}/{uuid.uuid4().hex[:12]}"
        self.totals = Totals()
        self._sequence = 0
        self._open: dict[tuple[str, int], _Counts] = {}
        self._hooks: dict[tuple[str, int, str, str | None], _HookCounts] = {}

    def hook_ran(
        self, installation: Installation, hook: str, store: str | None, seconds: float, count: int = 1
    ) -> None:
        """``count`` runs of an event's hook, a tick or a job have ended, well or badly, after ``seconds`` each."""
        try:  # the hot path: one look-up, one bucket
            counts = self._hooks[installation.id, installation.revision, hook, store]
        except KeyError:
            counts = self._hook(installation, hook, store)
        counts.latency[bucket_of(seconds)] += count
        self.totals.hook_runs += count

    def retried(self, installation: Installation, hook: str, store: str | None, *, failed: bool) -> None:
        """A run, which is counted by itself, was a further attempt at an event that had failed before."""
        counts = self._hook(installation, hook, store)
        counts.retries += 1
        counts.failed_retries += failed

    def route_called(self, installation: Installation, target: str, store: str | None, seconds: float) -> None:
        """A call of a route (``METHOD /path``) has ended, well or badly."""
        self._hook(installation, target, store).latency[bucket_of(seconds)] += 1
        self.totals.route_calls += 1

    def api_called(self, installation: Installation) -> None:
        self._of(installation).api_calls += 1
        self.totals.api_calls += 1

    def failed(
        self,
        installation: Installation,
        during: str,
        failure: PluginFailed,
        event_id: str | None = None,
        store: str | None = None,
    ) -> None:
        """Record that a run, which is counted by itself, failed; beyond ten a second only their number is kept."""
        self._hook(installation, during, store).errors += 1
        self.totals.failures[failure.code] += 1
        log.warning(
            "plugin failed",
            installation=installation.id,
            plugin=installation.plugin_id,
            during=during,
            code=failure.code,
            message=failure.message[:MESSAGE_LENGTH],
            event_id=event_id,
        )
        errors = self._of(installation).errors
        if len(errors) < ERRORS_PER_SUMMARY:
            errors.append(
                ExecutionError(
                    at=datetime.now(UTC).isoformat(),
                    code=failure.code,
                    message=failure.message[:MESSAGE_LENGTH],
                    stack=failure.stack[-STACK_LENGTH:],
                    during=during,
                    event_id=event_id,
                    source=failure.source,
                )
            )

    async def run(self) -> None:
        """Publish every second until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Publish what was counted since the last time."""
        pending, self._open, self._hooks = self._open, {}, {}
        now = datetime.now(UTC).isoformat()
        for counts in pending.values():
            for summary in self._summaries(counts, now):
                key = summary.installation_id.encode()
                try:
                    await self._producer.send(EXECUTIONS.name, key=key, value=encode_summary(summary))
                except KafkaError as error:
                    log.warning(
                        "execution summary not published", installation=summary.installation_id, error=repr(error)
                    )

    def _summaries(self, counts: _Counts, now: str) -> Iterator[ExecutionSummary]:
        """One summary, or several when it would be too long; the first one has what is not of a single hook."""
        hooks = [
            HookSummary(
                hook=hook,
                store=store,
                runs=sum(each.latency),
                errors=each.errors,
                retries=each.retries,
                failed_retries=each.failed_retries,
                latency=sparse(each.latency),
            )
            for (hook, store), each in counts.hooks.items()
        ]
        for start in range(0, len(hooks) or 1, HOOKS_PER_SUMMARY):
            part = tuple(hooks[start : start + HOOKS_PER_SUMMARY])
            self._sequence += 1
            yield ExecutionSummary(
                installation_id=counts.installation.id,
                organization_id=counts.installation.organization_id,
                worker_id=self._worker_id,
                sequence=self._sequence,
                revision=counts.installation.revision,
                hook_runs=sum(each.runs for each in part if not each.is_route),
                hook_errors=sum(each.errors for each in part),
                route_calls=sum(each.runs for each in part if each.is_route),
                api_calls=counts.api_calls if start == 0 else 0,
                last_used=now,
                errors=tuple(counts.errors) if start == 0 else (),
                hooks=part,
            )

    def _of(self, installation: Installation) -> _Counts:
        key = installation.id, installation.revision
        counts = self._open.get(key)
        if counts is None:
            counts = self._open[key] = _Counts(installation)
        return counts

    def _hook(self, installation: Installation, hook: str, store: str | None) -> _HookCounts:
        name = route_name(installation.manifest.routes, hook) if is_route(hook) else hook
        hooks = self._of(installation).hooks
        counts = hooks.setdefault((name, store or ORGANIZATION_WIDE), _HookCounts())
        if name == hook:
            self._hooks[installation.id, installation.revision, hook, store] = counts
        return counts
