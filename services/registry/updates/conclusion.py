"""Recording what came of an update: the new version, or the old one with the error; then its events go on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.errors import Conflict, Unprocessable
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.configuration import complete_config, merge
from services.registry.installations.breaker import close_by_hand
from services.registry.installations.lifecycle import Status
from services.registry.installations.operations import Operation
from services.registry.installations.outcome import Failed, Outcome, Succeeded
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.trail import ACTIONS, OUTCOMES, record_change, shown
from services.registry.models import Installation, InstallationError, PluginVersion
from services.registry.scopes.resolution import check_variants
from services.registry.scopes.variants import read_variants
from services.registry.updates.models import PendingUpdate, PreviousVersion
from services.registry.updates.repository import UpdateRepository


async def conclude_update(session: AsyncSession, operation: Operation, outcome: Outcome) -> None:
    """Switch the installation to its new version in one announcement, or leave it at its old one.

    Raises Conflict (``operation_superseded``) when the operation is no longer the installation's present one.
    """
    installations, updates, publications = (
        InstallationRepository(session),
        UpdateRepository(session),
        PublicationLog(session),
    )
    revision = await publications.next_revision()
    row = await installations.lock(UUID(operation.installation.id))
    pending = None if row is None else await updates.pending(row[0].id)
    if row is None or pending is None or row[0].operation_id != operation.id:
        raise Conflict("The operation took so long that another one took its place.", code="operation_superseded")
    installation, version = row
    if isinstance(outcome, Failed) and (outcome.source, outcome.code) == ("platform", "deadline_exceeded"):
        # It may have been committed: the operation stays, and is asked for again until it is known.
        await installations.record(_error(installation.id, outcome, pending.version))
        return
    was = shown(installation, version)
    installation.operation_id = installation.operation_started_at = None
    installation.updating, installation.revision = False, revision
    match outcome:
        case Succeeded():
            version = await _target(session, installation, pending)
            config = await _config(session, installation, version, pending, outcome)
            await _keep_previous(updates, installation, pending)
            installation.version, installation.grants, installation.config = pending.version, pending.grants, config
            installation.libraries = pending.libraries
            await updates.unskip(installation.id, pending.version)
            await begin_anew(session, installation, "updated", await installations.now())
        case Failed():
            installation.hook_errors += 1
            await installations.record(_error(installation.id, outcome, pending.version))
            await updates.skip(installation.id, pending.version, f"onUpdate failed: {outcome.summary}")
    await updates.remove(pending)
    await session.flush()
    await publications.announce(installation, version)
    await record_change(
        session,
        operation.by,
        ACTIONS[operation.transition.hook],
        installation,
        before=was,
        after=shown(installation, version),
        outcome=OUTCOMES[type(outcome)],
        target=pending.version,
    )


async def begin_anew(session: AsyncSession, installation: Installation, reason: str, now: datetime) -> None:
    """Judge another version by what it does itself: an installation that its breaker held runs, other errors end."""
    if installation.status == Status.ERROR:
        held = (installation.breaker or {}).get("state", "closed") != "closed"
        installation.status = Status.ACTIVE if held else Status.INACTIVE
        installation.status_reason = None
    await close_by_hand(session, installation, f"{reason} to {installation.version}", now)


async def _target(session: AsyncSession, installation: Installation, pending: PendingUpdate) -> PluginVersion:
    found = await CatalogueRepository(session).version(installation.plugin_id, pending.version)
    assert found is not None  # noqa: S101  published versions stay
    return found


async def _config(
    session: AsyncSession, installation: Installation, version: PluginVersion, pending: PendingUpdate, done: Succeeded
) -> dict[str, Any]:
    """The configuration that was decided on, what the plugin changed of it meanwhile, and what the hook did."""
    config = pending.config
    if installation.config != pending.base:
        config = merge(config, pending.base, installation.config)
        try:
            manifest = read_manifest(version)
            secrets = manifest.secret_settings()
            sealed = [name for name in secrets if name in config]
            config = await complete_config(config, manifest.settings_schema, secrets=secrets, sealed=sealed)
            await check_variants(config, manifest, await read_variants(session, installation, manifest))
        except Unprocessable as error:
            config = pending.config
            why = f"Settings that changed during the update do not fit version {version.version}: {error.members}"
            await InstallationRepository(session).record(
                _error(installation.id, Failed("platform", "invalid_config", why), version.version)
            )
    return config if done.config is None else merge(config, done.base, done.config)


async def _keep_previous(updates: UpdateRepository, installation: Installation, pending: PendingUpdate) -> None:
    await updates.add(
        PreviousVersion(
            installation_id=installation.id,
            version=installation.version,
            grants=installation.grants,
            config=installation.config,
            libraries=installation.libraries,
            replaced_by=pending.asked_by["subject"],
        )
    )


def _error(installation_id: UUID, failure: Failed, version: str) -> InstallationError:
    return InstallationError(
        installation_id=installation_id,
        source=failure.source,
        code=failure.code,
        message=f"Update to {version}: {failure.message}",
        stack=failure.stack,
        during="onUpdate",
    )
