"""One lifecycle operation: decided in a transaction, run by a worker, concluded in another transaction.

Nothing is locked while the plugin runs. A marker on the installation refuses other operations meanwhile; a registry
that dies leaves the marker behind, and it ceases to count when no worker can still be at it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common import directory
from services.common.errors import Conflict, GatewayTimeout, OutletError, Unavailable
from services.common.runtime_client import PluginFailed, RuntimeClient, StoredData
from services.registry.audit.trail import Actor
from services.registry.database import Transaction
from services.registry.installations.conclusion import conclude
from services.registry.installations.lifecycle import Transition
from services.registry.installations.outcome import Failed, Outcome, Succeeded, Unreached, raise_failure, read_config
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.trail import ACTIONS, State, record_change, shown
from services.registry.models import Installation, PluginVersion

log = structlog.get_logger(__name__)

CALL_MARGIN_SECONDS = 5.0
"""The worker ends a hook at its deadline and says so; this is how much longer its answer is waited for."""
MARKER_MARGIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that was decided. ``before`` is what to restore when no worker is reached; None: nothing existed.

    ``installation`` is as its hook is to know it; ``from_version`` and ``from_digest``, of an update, are
    what it still has.
    """

    id: UUID
    installation: directory.Installation
    transition: Transition
    before: dict[str, Any] | None
    by: Actor
    ignore_failure: bool
    stored_data: StoredData | None = None
    discard_backlog: bool = False
    from_version: str = ""
    from_digest: str = ""


Conclusion = Callable[[AsyncSession, Operation, Outcome], Awaitable[None]]
"""Records what came of an operation, in the transaction of the session."""


async def _conclude(session: AsyncSession, operation: Operation, outcome: Outcome) -> None:
    installation_id = UUID(operation.installation.id)
    await conclude(
        session, installation_id, operation.id, operation.transition, outcome, operation.before, operation.by
    )


STATUS = ("status", "status_reason", "backlog")
INSTALLED = (*STATUS, "version", "config", "grants", "libraries", "installed_by")


def remember(installation: Installation, names: Sequence[str]) -> dict[str, Any]:
    """What an operation may change before the plugin has run."""
    return {name: getattr(installation, name) for name in names}


class Operations:
    """Runs lifecycle operations. ``announced`` is called when there is something in the outbox."""

    def __init__(
        self, transaction: Transaction, runtime: RuntimeClient, announced: Callable[[], None], *, deadline: float
    ) -> None:
        self._transaction = transaction
        self._runtime = runtime
        self.announced = announced
        self._call_seconds = deadline + CALL_MARGIN_SECONDS
        self._marker_lifetime = timedelta(seconds=deadline + MARKER_MARGIN_SECONDS)

    @property
    def marker_lifetime(self) -> timedelta:
        """After how long an operation of a registry that died is nobody's any more."""
        return self._marker_lifetime

    def check_idle(self, installation: Installation, now: datetime) -> None:
        """Raises Conflict (``operation_in_progress``) while an operation of the installation may still be running."""
        started = installation.operation_started_at
        # An update that a registry left behind is taken up again; until then nothing else may come in between.
        if installation.updating or (started is not None and now - started < self._marker_lifetime):
            raise Conflict(
                "Another operation of this installation is running.",
                code="operation_in_progress",
                remedy="Wait until it has finished, then read the present state.",
            )

    async def begin(
        self,
        session: AsyncSession,
        installation: Installation,
        version: PluginVersion,
        transition: Transition,
        *,
        revision: int | None,
        before: dict[str, Any] | None,
        by: Actor,
        was: State,
        ignore_failure: bool = False,
        stored_data: StoredData | None = None,
        discard_backlog: bool = False,
    ) -> Operation:
        """Mark the installation, which is locked or new; with a ``revision``, announce its status meanwhile.

        ``was`` is its state before anything of this operation, for the audit log; ``by`` asked for it.
        """
        operation_id = installation.operation_id = uuid4()
        installation.operation_started_at = await InstallationRepository(session).now()
        if revision is not None and transition.during is not None:
            installation.status, installation.revision = transition.during, revision
            await PublicationLog(session).announce(installation, version)
        asked = {} if stored_data is None else {"storedData": stored_data.value}
        await record_change(
            session,
            by,
            ACTIONS[transition.hook],
            installation,
            before=was,
            after=shown(installation, version),
            outcome="begun",
            **asked,
        )
        return Operation(
            operation_id,
            await PublicationLog(session).snapshot(installation, version),
            transition,
            before,
            by,
            ignore_failure,
            stored_data,
            discard_backlog,
        )

    async def run(self, operation: Operation, conclusion: Conclusion = _conclude) -> None:
        """Have a worker run the hook, and record what came of it. Raises what the caller is to be told."""
        self.announced()
        outcome = await self._call(operation)
        installation = operation.installation
        log.info(
            "lifecycle hook ended",
            installation=installation.id,
            plugin=installation.plugin_id,
            hook=operation.transition.hook.value,
            outcome=type(outcome).__name__.lower(),
            reason=outcome.summary if isinstance(outcome, Failed) else None,
        )
        async with self._transaction() as session:
            await conclusion(session, operation, outcome)
        self.announced()
        raise_failure(outcome, installation.id, operation.transition.hook)

    async def _call(self, operation: Operation) -> Outcome:
        try:
            async with asyncio.timeout(self._call_seconds):
                config = await self._runtime.run_lifecycle_hook(
                    operation.installation,
                    operation.transition.hook,
                    operation_id=str(operation.id),
                    deadline=self._call_seconds,
                    ignore_failure=operation.ignore_failure,
                    stored_data=operation.stored_data,
                    discard_backlog=operation.discard_backlog,
                    from_version=operation.from_version,
                    from_digest=operation.from_digest,
                )
        except PluginFailed as failure:
            if operation.ignore_failure:
                return Succeeded()
            return Failed(failure.source, failure.code, failure.message, failure.stack)
        except Unavailable as error:
            return Unreached(error)
        except (GatewayTimeout, TimeoutError):
            return Failed("platform", "deadline_exceeded", "The worker did not answer in time.")
        except OutletError as error:
            return Failed("platform", error.problem_code, error.detail)
        if config is None:
            return Succeeded()
        return await read_config(config, operation.installation)
