"""Whether an organization may use a plugin that costs: asked at activation, and again and again while it runs."""

import asyncio
from datetime import datetime
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.errors import Conflict, OutletError, Unavailable
from services.registry.audit.trail import PLATFORM
from services.registry.database import Transaction
from services.registry.installations.breaker import close_by_hand
from services.registry.installations.lifecycle import Status
from services.registry.installations.operations import Operations
from services.registry.installations.publication import PublicationLog, breaker_of
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.trail import record_change, shown
from services.registry.licences.models import LicencePause
from services.registry.licences.repository import LicenceRepository
from services.registry.models import Installation

log = structlog.get_logger(__name__)

REASON = "it has no licence that is good: its events wait"


class LicenceRequired(OutletError):
    """The plugin costs, and the organization has no licence that is good."""

    status = 402
    code = "licence_required"
    remedy = "Buy it, or begin its trial, then activate it."


async def check_entitled(session: AsyncSession, organization: str, manifest: Manifest) -> None:
    """Raises LicenceRequired."""
    if manifest.price.model == "free":
        return
    if not await LicenceRepository(session).is_entitled(organization, manifest.plugin_id):
        raise LicenceRequired(
            f"The plugin {manifest.plugin_id!r} costs, and the organization has no licence that is good.",
            checkout=f"/api/plugins/marketplace/{manifest.plugin_id}/licence/checkout",
            trialDays=manifest.price.trial_days,
        )


class LicenceKeeper:
    """Stops what has no licence any more, as a deactivation that keeps its events does, and starts it when it has.

    No hook of the plugin runs: it is not asked. ``wake`` looks at once.
    """

    def __init__(self, transaction: Transaction, operations: Operations, every: float) -> None:
        self._transaction = transaction
        self._operations = operations
        self._every = every
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Licences have changed."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled; a database that is away delays."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("licences cannot be looked at, trying again", error=error.detail)
            try:
                await asyncio.wait_for(self._woken.wait(), self._every)
            except TimeoutError:
                continue
            self._woken.clear()

    async def look(self) -> None:
        """Stop and start what is due."""
        async with self._transaction() as session:
            licences = LicenceRepository(session)
            over, again = await licences.unlicensed(), await licences.resumable()
        for installation_id in over:
            await self._change(installation_id, pause=True)
        for installation_id in again:
            await self._change(installation_id, pause=False)

    async def _change(self, installation_id: UUID, *, pause: bool) -> None:
        async with self._transaction() as session:
            installations, publications = InstallationRepository(session), PublicationLog(session)
            revision = await publications.next_revision()
            row = await installations.lock(installation_id)
            if row is None or not self._is_idle(row[0], now := await installations.now()):
                return  # the next look finds it, if it is still due
            installation, version = row
            licences = LicenceRepository(session)
            if await licences.is_entitled(installation.organization_id, installation.plugin_id) == pause:
                return
            was = shown(installation, version)
            changed = await (_pause if pause else _resume)(session, installation, revision, now)
            if not changed:
                return
            installation.revision = revision
            await publications.announce(installation, version)
            action = "licence.pause" if pause else "licence.resume"
            await record_change(session, PLATFORM, action, installation, before=was, after=shown(installation, version))
        self._operations.announced()
        log.info("licence looked at", installation=str(installation_id), action=action)

    def _is_idle(self, installation: Installation, now: datetime) -> bool:
        try:
            self._operations.check_idle(installation, now)
        except Conflict:
            return False
        return True


async def _pause(session: AsyncSession, installation: Installation, revision: int, now: datetime) -> bool:
    held = installation.status == Status.ERROR and breaker_of(installation).state != "closed"
    if installation.status != Status.ACTIVE and not held:
        return False
    installation.revision = revision
    if held:
        await close_by_hand(session, installation, REASON, now)
    installation.status, installation.status_reason, installation.backlog = Status.INACTIVE, REASON, "pause"
    licences = LicenceRepository(session)
    await licences.forget_pause(installation.id)
    await licences.add(LicencePause(installation_id=installation.id, paused_at=now))
    return True


async def _resume(session: AsyncSession, installation: Installation, revision: int, now: datetime) -> bool:
    """False when somebody did something else with it meanwhile."""
    await LicenceRepository(session).forget_pause(installation.id)
    if installation.status != Status.INACTIVE or installation.status_reason != REASON:
        return False
    installation.status, installation.status_reason, installation.backlog = Status.ACTIVE, None, "none"
    return True
