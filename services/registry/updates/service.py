"""Updating installations, and going back: each use case decides in one transaction; plugins run outside of it."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.auth import Caller
from services.common.directory import Library, Variant
from services.common.errors import Conflict, NotFound, Unprocessable
from services.common.secret_settings import SecretKeys, is_sealed
from services.registry.audit.trail import Actor
from services.registry.catalogue.offers import check_not_revoked
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.trust import check_still_allowed, check_version
from services.registry.configuration import complete_config
from services.registry.database import Transaction
from services.registry.dependencies.libraries import resolved_libraries
from services.registry.installations.grants import chosen_grants
from services.registry.installations.lifecycle import TRANSITIONS, Move, Status, check_move
from services.registry.installations.operations import Operation, Operations
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.installations.requirements import check_dependants, check_dependencies
from services.registry.installations.scope import check_manages
from services.registry.installations.trail import ACTIONS, ROLL_BACK, record_change, shown
from services.registry.models import PluginVersion
from services.registry.packages.storage import PackageStorage
from services.registry.scopes.resolution import check_variants
from services.registry.scopes.variants import read_variants
from services.registry.secret_settings import masks, sealed, with_kept
from services.registry.updates.candidates import named
from services.registry.updates.conclusion import begin_anew, conclude_update
from services.registry.updates.differences import Wish, beyond, carried
from services.registry.updates.models import PendingUpdate
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.schemas import UpdateRequest

CORRECT_CONFIG = "Send the update with a config that fits the new version: GET .../update says what differs."


class ConsentRequired(Conflict):
    """The new version asks for more than the present one did."""

    code = "consent_required"
    remedy = "Send grants: all the permissions that the installation is to have, with or without the new ones."


@dataclass(frozen=True, slots=True)
class Decision:
    """What an installation is to have; ``read`` is the state that this was decided on."""

    read: Row
    target: PluginVersion
    grants: list[str]
    config: dict[str, Any]
    by: Actor


class UpdateService:
    """Changes the versions of installations. All methods raise OutletError, with the status and code for the caller."""

    def __init__(
        self, transaction: Transaction, operations: Operations, keys: SecretKeys, packages: PackageStorage
    ) -> None:
        self._transaction = transaction
        self._packages = packages
        self._operations = operations
        self._keys = keys

    def announced(self) -> None:
        """There is something in the outbox."""
        self._operations.announced()

    async def update(self, caller: Caller, installation_id: UUID, wanted: UpdateRequest) -> None:
        """Update an installation: onUpdate runs in the new version, and the installation has it once that succeeded."""
        async with self._transaction() as session:
            row = check_manages(caller, await InstallationRepository(session).get(installation_id))
            target = named(
                row[0], await UpdateRepository(session).versions(row[0].plugin_id, caller.organization), wanted.version
            )
        grants = next_grants(row, target, wanted.grants)
        config = await next_config(row, target, wanted.config)
        await self.carry_out(Decision(row, target, grants, config, Actor.of(caller)))

    async def carry_out(self, decision: Decision) -> None:
        """Run an update that was decided on, unless the installation has changed since then (Conflict)."""
        manifest = read_manifest(decision.target)
        async with self._transaction() as session:
            variants = await read_variants(session, decision.read[0], manifest)
        await check_variants(decision.config, manifest, variants)  # it takes time: nothing is locked
        async with self._transaction() as session:
            operation = await self._begin(session, decision, variants)
        await self._operations.run(operation, conclude_update)

    async def resume(self, installation_id: UUID) -> None:
        """Take up the update of a registry that died: onUpdate has its effect once, however often it is asked for."""
        async with self._transaction() as session:
            installations, updates = InstallationRepository(session), UpdateRepository(session)
            row, now = await installations.lock(installation_id), await installations.now()
            pending = await updates.pending(installation_id)
            if row is None or pending is None or row[0].operation_started_at is None:
                return
            if now - row[0].operation_started_at < self._operations.marker_lifetime:
                return  # another registry has taken it up
            row[0].operation_started_at = now
            target = await CatalogueRepository(session).version(row[0].plugin_id, pending.version)
            assert target is not None  # noqa: S101  published versions stay
            operation = await _operation(session, row, target, pending)
        await self._operations.run(operation, conclude_update)

    async def roll_back(self, caller: Caller, installation_id: UUID) -> None:
        """Give an installation the version, grants and configuration that it had before its last update.

        No code of the plugin runs; what it stored stays as it is. The version that it had does not come by itself.
        """
        async with self._transaction() as session:
            publications = PublicationLog(session)
            revision = await publications.next_revision()
            row = check_manages(caller, await InstallationRepository(session).lock(installation_id))
            version = await self.switch_back(session, row, Actor.of(caller), f"rolled back by {caller.subject}")
            row[0].revision = revision
            await publications.announce(row[0], version)
        self._operations.announced()

    async def switch_back(self, session: AsyncSession, row: Row, by: Actor, reason: str) -> PluginVersion:
        """Within a transaction that announces it; the version that it has then. Raises Conflict."""
        installations, updates = InstallationRepository(session), UpdateRepository(session)
        installation, was = row[0], shown(*row)
        now = await installations.now()
        self._operations.check_idle(installation, now)
        check_move(Move.ROLL_BACK, Status(installation.status), installed=installation.installed_at is not None)
        previous = await updates.previous(installation.id)
        if previous is None:
            raise Conflict(
                "The installation has no previous version.",
                code="nothing_to_roll_back",
                remedy="An installation can go back once after each update.",
            )
        await check_dependants(session, installation, previous.version)
        version = await CatalogueRepository(session).version(installation.plugin_id, previous.version)
        assert version is not None  # noqa: S101  published versions stay
        check_not_revoked(version)
        manifest = read_manifest(version)
        await check_variants(previous.config, manifest, await read_variants(session, installation, manifest))
        await updates.skip(installation.id, installation.version, reason)
        installation.version, installation.grants = previous.version, previous.grants
        installation.config, installation.libraries = previous.config, previous.libraries
        await updates.remove(previous)
        await begin_anew(session, installation, "rolled back", now)
        await session.flush()
        await record_change(session, by, ROLL_BACK, installation, before=was, after=shown(installation, version))
        return version

    async def _begin(self, session: AsyncSession, decision: Decision, variants: tuple[Variant, ...]) -> Operation:
        read = decision.read[0]
        target = await CatalogueRepository(session).version(read.plugin_id, decision.target.version)
        assert target is not None  # noqa: S101  published versions stay
        publications, installations = PublicationLog(session), InstallationRepository(session)
        await check_version(self._packages, session, target)
        revision = await publications.next_revision()
        await check_still_allowed(session, target)  # a revocation and this have taken turns here
        row = await installations.lock(read.id)
        if row is None:
            raise NotFound("There is no such installation.", code="installation_not_found")
        installation, version = row
        now = await installations.now()
        self._operations.check_idle(installation, now)
        check_move(Move.UPDATE, Status(installation.status), installed=installation.installed_at is not None)
        if installation.revision != read.revision:
            raise Conflict("The installation changed meanwhile.")
        if await read_variants(session, installation, read_manifest(target)) != variants:
            raise Conflict("What regions or stores override was changed meanwhile.")
        organization, store = installation.organization_id, installation.store_id
        await check_dependencies(session, read_manifest(target), organization, store)
        await check_dependants(session, installation, target.version)
        pending = PendingUpdate(
            installation_id=installation.id,
            operation_id=uuid4(),
            version=target.version,
            grants=decision.grants,
            config=sealed(decision.config, read_manifest(target).secret_settings(), self._keys, installation),
            libraries=await resolved_libraries(session, target, read.organization_id),
            base=installation.config,
            asked_by=asdict(decision.by),
        )
        await UpdateRepository(session).add(pending)
        installation.operation_id, installation.operation_started_at = pending.operation_id, now
        installation.updating, installation.revision = True, revision
        await publications.announce(installation, version)
        operation = await _operation(session, (installation, version), target, pending)
        state = shown(installation, version)
        await record_change(
            session,
            decision.by,
            ACTIONS[operation.transition.hook],
            installation,
            before=state,
            after=state,
            outcome="begun",
            target=target.version,
        )
        return operation


async def _operation(session: AsyncSession, row: Row, target: PluginVersion, pending: PendingUpdate) -> Operation:
    """The operation with the installation as its new version is to know it."""
    installation, present = row
    known = msgspec.structs.replace(
        await PublicationLog(session).snapshot(installation, target),
        version=pending.version,
        grants=tuple(pending.grants),
        config=pending.config,
        libraries=msgspec.convert(pending.libraries, tuple[Library, ...]),
    )
    transition = TRANSITIONS[Move.UPDATE]
    return Operation(
        pending.operation_id,
        known,
        transition,
        before=None,
        by=Actor(**pending.asked_by),
        ignore_failure=False,
        from_version=present.version,
        from_digest=present.digest,
    )


def next_grants(row: Row, target: PluginVersion, wanted: list[str] | None) -> list[str]:
    """The grants under the new version: what was asked for, or what it has. Raises ConsentRequired."""
    installation, present = row
    manifest = read_manifest(target)
    if wanted is not None:
        return chosen_grants(manifest, wanted)
    more = beyond(manifest, read_manifest(present))
    if more:
        raise ConsentRequired(
            f"Version {target.version} asks for more: {', '.join(each.name for each in more)}.",
            needsConsent=[_shown(each) for each in more],
        )
    return carried(installation.grants, manifest)


def _shown(wish: Wish) -> dict[str, str]:
    return {"name": wish.name, "purpose": wish.purpose}


async def next_config(row: Row, target: PluginVersion, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration under the new version: as ``wanted``, or the present one with new defaults.

    Raises Unprocessable (``invalid_config``) with the faults when it does not fit the new version's schema.
    """
    manifest, present = read_manifest(target), row[0].config
    secrets = manifest.secret_settings()
    if wanted is None:
        _refuse_opened_secrets(manifest, present)
        wanted, kept = present, [name for name in secrets if is_sealed(present.get(name))]
    else:
        kept = masks(wanted, secrets)
        wanted = with_kept(wanted, present, kept)
    try:
        return await complete_config(wanted, manifest.settings_schema, secrets=secrets, sealed=kept)
    except Unprocessable as error:
        raise Unprocessable(
            f"The configuration does not fit version {target.version}.",
            code="invalid_config",
            remedy=CORRECT_CONFIG,
            errors=error.members["errors"],
        ) from None


def _refuse_opened_secrets(manifest: Manifest, present: dict[str, Any]) -> None:
    """A secret that the new version would read like any other setting has to be given anew, or left out."""
    opened = [name for name, value in present.items() if is_sealed(value) and name not in manifest.secret_settings()]
    if opened:
        raise Unprocessable(
            "The new version would read as a plain setting what is a secret now.",
            code="invalid_config",
            remedy=CORRECT_CONFIG,
            errors=[
                {"path": f"$.{name}", "message": "is a secret now: send its value, or leave it out"} for name in opened
            ],
        )
