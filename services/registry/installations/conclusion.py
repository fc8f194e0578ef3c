"""Recording what came of a lifecycle operation: the new state, its announcement, and the error if there is one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.errors import Conflict
from services.common.runtime_client import LifecycleHook
from services.registry.audit.trail import Actor
from services.registry.configuration import merge
from services.registry.installations.breaker import close_by_hand
from services.registry.installations.lifecycle import Status, Transition
from services.registry.installations.outcome import Failed, Outcome, Succeeded, Unreached
from services.registry.installations.publication import PublicationLog, breaker_of
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.installations.trail import ACTIONS, NOTHING, OUTCOMES, record_change, shown
from services.registry.listings.repository import ListingRepository
from services.registry.models import Installation, InstallationError


async def conclude(
    session: AsyncSession,
    installation_id: UUID,
    operation_id: UUID,
    transition: Transition,
    outcome: Outcome,
    before: dict[str, Any] | None,
    by: Actor,
) -> None:
    """Give the installation the state that follows, and end its operation.

    When no worker was reached it gets back what it had ``before``; None: it did not exist. ``by`` asked for it.
    Raises Conflict (``operation_superseded``) when the operation is no longer the installation's present one.
    """
    installations, publications = InstallationRepository(session), PublicationLog(session)
    revision = await publications.next_revision()
    row = await installations.lock(installation_id)
    if row is None or row[0].operation_id != operation_id:
        raise Conflict("The operation took so long that another one took its place.", code="operation_superseded")
    was = shown(*row)
    remains = await _settle(session, row, revision, transition, outcome, before)
    await record_change(
        session,
        by,
        ACTIONS[transition.hook],
        row[0],
        before=was,
        after=NOTHING if remains is None else shown(*remains),
        outcome=OUTCOMES[type(outcome)],
    )


async def _settle(
    session: AsyncSession,
    row: Row,
    revision: int,
    transition: Transition,
    outcome: Outcome,
    before: dict[str, Any] | None,
) -> Row | None:
    """The installation as it is now; None: it is no more."""
    installations, publications = InstallationRepository(session), PublicationLog(session)
    installation, version = row
    installation.operation_id = installation.operation_started_at = None
    announced = installation.status

    match outcome:
        case Succeeded(config, base) if transition.success is not None:
            now = await installations.now()
            _succeed(installation, transition.success, transition.hook, now)
            if transition.hook is LifecycleHook.ON_INSTALL:
                await ListingRepository(session).count_download(installation.plugin_id)
            if config is not None:
                installation.config = merge(installation.config, base, config)
            installation.revision = revision
            if transition.hook is LifecycleHook.ON_ACTIVATE or breaker_of(installation).state != "closed":
                await close_by_hand(session, installation, f"{transition.hook.value} succeeded", now)
        case Failed():
            installation.hook_errors += 1
            # What its circuit breaker holds stays held, and its events wait on; an uninstallation ends that.
            if transition.during is not None or breaker_of(installation).state == "closed":
                _fail(installation, transition, outcome)
                installation.breaker = None
            await installations.record(_error(installation.id, transition.hook, outcome))
        case Unreached() if before is not None:
            for name, value in before.items():
                setattr(installation, name, value)
            if installation.status == announced:
                return row  # as if nothing had been asked
            _, version = await installations.get(installation.id) or row  # the version may be the former one again
        case _:
            await installations.delete(installation)
            await publications.retract(installation.id, revision)
            return None
    installation.revision = revision
    await publications.announce(installation, version)
    return installation, version


def _succeed(installation: Installation, status: Status, hook: LifecycleHook, now: datetime) -> None:
    installation.status, installation.status_reason = status, None
    match hook:
        case LifecycleHook.ON_INSTALL:
            installation.installed_at = now
        case LifecycleHook.ON_ACTIVATE:
            installation.backlog = "none"
            installation.last_activated_at = now
            installation.activations += 1
        case LifecycleHook.ON_DEACTIVATE:
            installation.last_deactivated_at = now


def _fail(installation: Installation, transition: Transition, failure: Failed) -> None:
    installation.status = transition.failure
    installation.status_reason = f"{transition.hook.value} failed: {failure.summary}".replace("\0", "")


def _error(installation_id: UUID, hook: LifecycleHook, failure: Failed) -> InstallationError:
    return InstallationError(
        installation_id=installation_id,
        source=failure.source,
        code=failure.code,
        message=failure.message,
        stack=failure.stack,
        during=hook.value,
    )
