"""The circuit breaker of an installation: insights decides, the registry changes the state and announces it.

    closed --open--> open --half_open--> half_open --open--> open
                                         half_open --closed--> closed

While it is not closed, the installation's status is `error` with the reason; no lifecycle hook is run. An operator's
activation closes it by hand, and so does a deactivation.
"""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.directory import Breaker, BreakerState
from services.common.events import ORGANIZATION_WIDE, DomainEvent
from services.common.insights import BreakerChange
from services.common.topics import BREAKER_CLOSED, BREAKER_OPENED
from services.registry.installations.lifecycle import Status
from services.registry.installations.publication import PublicationLog, breaker_of
from services.registry.installations.repository import InstallationRepository
from services.registry.models import Installation, InstallationError

SOURCE = "urn:outlet:registry"

STATUS_BEFORE: dict[tuple[BreakerState, BreakerState], Status] = {
    ("closed", "open"): Status.ACTIVE,
    ("open", "half_open"): Status.ERROR,
    ("half_open", "open"): Status.ERROR,
    ("half_open", "closed"): Status.ERROR,
}
"""The legal changes, and the status that the installation must have."""


def is_due(installation: Installation, change: BreakerChange) -> bool:
    """Whether a decision was made for the breaker as it is now, and is legal."""
    breaker = breaker_of(installation)
    status = STATUS_BEFORE.get((breaker.state, change.state))
    return breaker.revision == change.revision and status == installation.status


async def turn(session: AsyncSession, installation: Installation, change: BreakerChange, now: datetime) -> None:
    """Carry out a decision on an installation that is locked and has its new revision."""
    until = now + timedelta(seconds=change.open_seconds) if change.state == "open" else None
    was_closed = breaker_of(installation).state == "closed"
    _set(
        installation,
        Breaker(
            state=change.state,
            reason=change.reason,
            since=now.isoformat(),
            until=None if until is None else until.isoformat(),
            probes=0 if change.state == "closed" else change.probes,
            revision=installation.revision,
        ),
    )
    if change.state == "closed":
        installation.status, installation.status_reason = Status.ACTIVE, None
        await _raise_event(session, installation, BREAKER_CLOSED, now)
        return
    installation.status = Status.ERROR
    installation.status_reason = f"circuit breaker {change.state.replace('_', '-')}: {change.reason}"
    if change.state == "open":
        await InstallationRepository(session).record(_error(installation, change.reason))
        if was_closed:
            await _raise_event(session, installation, BREAKER_OPENED, now)


async def close_by_hand(session: AsyncSession, installation: Installation, reason: str, now: datetime) -> None:
    """Close the breaker of an installation that is locked and has its new revision; its runs are counted anew."""
    was_closed = breaker_of(installation).state == "closed"
    _set(installation, Breaker(reason=reason, since=now.isoformat(), revision=installation.revision))
    if not was_closed:
        await _raise_event(session, installation, BREAKER_CLOSED, now)


def _set(installation: Installation, breaker: Breaker) -> None:
    installation.breaker = msgspec.to_builtins(breaker)


def _error(installation: Installation, reason: str) -> InstallationError:
    return InstallationError(
        installation_id=installation.id,
        source="platform",
        code="breaker_opened",
        message=f"Its events wait: {reason}.",
        stack="",
        during="circuit breaker",
    )


async def _raise_event(session: AsyncSession, installation: Installation, event_type: str, now: datetime) -> None:
    breaker = breaker_of(installation)
    event = DomainEvent(
        id=str(uuid4()),
        type=event_type,
        source=SOURCE,
        time=now.isoformat(),
        organization=installation.organization_id,
        store=installation.store_id or ORGANIZATION_WIDE,
        data=json.dumps(
            {
                "installationId": str(installation.id),
                "pluginId": installation.plugin_id,
                "version": installation.version,
                "reason": breaker.reason,
                "until": breaker.until,
            }
        ).encode(),
    )
    await PublicationLog(session).publish(event, str(installation.id))
