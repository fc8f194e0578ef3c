"""Tells the registry what plugins did: one summary per installation and second, on ``outlet.executions``."""

import asyncio
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.common.directory import Installation
from services.common.reports import ExecutionError, ExecutionSummary, encode_summary
from services.common.runtime_client import PluginFailed
from services.common.topics import EXECUTIONS

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
ERRORS_PER_SUMMARY = 10
MESSAGE_LENGTH = 2_000
STACK_LENGTH = 8_000


@dataclass
class _Counts:
    hook_runs: int = 0
    hook_errors: int = 0
    route_calls: int = 0
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
    """Counts in memory and publishes every second. What a killed worker had not published is lost: statistics only."""

    def __init__(self, producer: AIOKafkaProducer, worker_id: str) -> None:
        self._producer = producer
        # Sequences start again with the process, so the process is what they count for.
        self._worker_id = f"{worker_id}/{uuid.uuid4().hex[:12]}"
        self.totals = Totals()
        self._sequence = 0
        self._open: dict[tuple[str, str], _Counts] = defaultdict(_Counts)

    def hook_ran(self, installation: Installation) -> None:
        self._of(installation).hook_runs += 1
        self.totals.hook_runs += 1

    def route_called(self, installation: Installation) -> None:
        self._of(installation).route_calls += 1
        self.totals.route_calls += 1

    def api_called(self, installation: Installation) -> None:
        self._of(installation).api_calls += 1
        self.totals.api_calls += 1

    def failed(
        self, installation: Installation, during: str, failure: PluginFailed, event_id: str | None = None
    ) -> None:
        """Record a plugin's failure; beyond ten a second and installation only their number is kept."""
        counts = self._of(installation)
        counts.hook_errors += 1
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
        if len(counts.errors) < ERRORS_PER_SUMMARY:
            counts.errors.append(
                ExecutionError(
                    at=datetime.now(UTC).isoformat(),
                    code=failure.code,
                    message=failure.message[:MESSAGE_LENGTH],
                    stack=failure.stack[-STACK_LENGTH:],
                    during=during,
                    event_id=event_id,
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
        """Publish what was counted since the last time; when the broker is away it is counted on."""
        pending, self._open = self._open, defaultdict(_Counts)
        now = datetime.now(UTC).isoformat()
        for (installation_id, organization_id), counts in pending.items():
            self._sequence += 1
            summary = ExecutionSummary(
                installation_id=installation_id,
                organization_id=organization_id,
                worker_id=self._worker_id,
                sequence=self._sequence,
                hook_runs=counts.hook_runs,
                hook_errors=counts.hook_errors,
                route_calls=counts.route_calls,
                api_calls=counts.api_calls,
                last_used=now,
                errors=tuple(counts.errors),
            )
            try:
                await self._producer.send(EXECUTIONS.name, key=installation_id.encode(), value=encode_summary(summary))
            except KafkaError as error:
                log.warning("execution summary not published", installation=installation_id, error=repr(error))

    def _of(self, installation: Installation) -> _Counts:
        return self._open[installation.id, installation.organization_id]
