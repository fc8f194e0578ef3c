"""What owners and admins do with installations. Each use case decides in one transaction; plugins run outside of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.common.errors import Conflict, NotFound
from services.common.runtime_client import StoredData
from services.common.secret_settings import SecretKeys
from services.registry.audit.trail import Actor
from services.registry.catalogue.offers import check_offered
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.trust import check_libraries, check_still_allowed, check_version
from services.registry.configuration import complete_config
from services.registry.database import Transaction
from services.registry.dependencies.libraries import resolved_libraries
from services.registry.installations.backlog import BacklogChoice, BeginAt
from services.registry.installations.grants import chosen_grants
from services.registry.installations.lifecycle import TRANSITIONS, Move, Status, check_move, legal_moves
from services.registry.installations.operations import INSTALLED, STATUS, Operation, Operations, remember
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.installations.requirements import check_dependencies, check_not_needed
from services.registry.installations.schemas import InstallRequest
from services.registry.installations.scope import check_manages
from services.registry.installations.trail import NOTHING, State, record_change, shown
from services.registry.licences.entitlement import check_entitled
from services.registry.models import Installation, PluginVersion
from services.registry.packages.storage import PackageStorage
from services.registry.scopes.resolution import check_variants
from services.registry.scopes.variants import read_variants
from services.registry.secret_settings import masks, sealed, with_kept


class InstallationService:
    """Changes installations. All methods raise OutletError, with the HTTP status and code for the caller."""

    def __init__(
        self, transaction: Transaction, operations: Operations, keys: SecretKeys, packages: PackageStorage
    ) -> None:
        self._transaction = transaction
        self._packages = packages
        self._operations = operations
        self._keys = keys

    async def install(self, caller: Caller, wanted: InstallRequest) -> UUID:
        """Install a plugin, or try again where onInstall failed before; the installation's id."""
        store = caller.choose_store(wanted.store_id)
        async with self._transaction() as session:
            version = await wanted_version(session, wanted.plugin_id, wanted.version, caller.organization)
            await check_version(self._packages, session, version)
            manifest = read_manifest(version)
            secrets = manifest.secret_settings()
            with_kept(wanted.config, {}, masks(wanted.config, secrets))  # an installation that begins has none to keep
            config = await complete_config(wanted.config, manifest.settings_schema, secrets=secrets)
            grants = chosen_grants(manifest, wanted.grants)
            libraries = await resolved_libraries(session, version, caller.organization)
            revision = await PublicationLog(session).next_revision()
            await check_still_allowed(session, version)  # a revocation and this have taken turns here
            installations = InstallationRepository(session)
            overlapping = await installations.overlapping(version.plugin_id, caller.organization, store)
            installation = await self._to_retry(installations, overlapping, store)
            await check_dependencies(session, manifest, caller.organization, store)
            before, was = None, NOTHING
            if installation is None:
                installation = Installation(
                    id=uuid4(),
                    plugin_id=version.plugin_id,
                    version=version.version,
                    organization_id=caller.organization,
                    store_id=store,
                    status=Status.INSTALLING,
                    config={},
                    grants=grants,
                    libraries=libraries,
                    revision=revision,
                    installed_by=caller.subject,
                )
                installation.config = sealed(config, secrets, self._keys, installation)
                await installations.add(installation)
            else:
                before, was = remember(installation, INSTALLED), await _shown(installations, installation)
                installation.version, installation.grants = version.version, grants
                installation.libraries = libraries
                installation.config = sealed(config, secrets, self._keys, installation)
                installation.installed_by = caller.subject
            operation = await self._operations.begin(
                session,
                installation,
                version,
                TRANSITIONS[Move.INSTALL],
                revision=revision,
                before=before,
                by=Actor.of(caller),
                was=was,
            )
        await self._operations.run(operation)
        return installation.id

    async def activate(self, caller: Caller, installation_id: UUID, begin_at: BeginAt) -> None:
        """Let the plugin hear events, serve routes and show components.

        ``begin_at`` says whether it is given the events that were kept for it.
        """
        await self._operations.run(await self._begin(caller, installation_id, Move.ACTIVATE, begin_at=begin_at))

    async def deactivate(self, caller: Caller, installation_id: UUID, backlog: BacklogChoice) -> None:
        """Stop the plugin, and keep what it stored; ``backlog`` says what becomes of events that wait, and new ones."""
        await self._operations.run(await self._begin(caller, installation_id, Move.DEACTIVATE, backlog=backlog))

    async def uninstall(
        self, caller: Caller, installation_id: UUID, *, force: bool, stored_data: StoredData | None
    ) -> None:
        """Remove an installation; with ``force`` even when onUninstall fails.

        ``stored_data`` says what becomes of what it stored; None: what was asked at the last attempt, else dropped.
        """
        begun = await self._begin(caller, installation_id, Move.UNINSTALL, force=force, stored_data=stored_data)
        await self._operations.run(begun)

    async def configure(self, caller: Caller, installation_id: UUID, wanted: dict[str, Any]) -> None:
        """Replace the configuration; workers take it over with the next call of the plugin.

        A secret whose mask is sent stays; one that is left out is removed.
        """
        async with self._transaction() as session:
            found, read = check_manages(caller, await InstallationRepository(session).get(installation_id))
            manifest = read_manifest(read)
            variants = await read_variants(session, found, manifest)
        secrets = manifest.secret_settings()
        kept = masks(wanted, secrets)
        wanted = with_kept(wanted, found.config, kept)
        # It takes time: nothing is locked.
        config = await complete_config(wanted, manifest.settings_schema, secrets=secrets, sealed=kept)
        await check_variants(config, manifest, variants)
        async with self._transaction() as session:
            publications = PublicationLog(session)
            revision = await publications.next_revision()
            installation, version = await self._lock(session, caller, installation_id, Move.CONFIGURE)
            if version.digest != read.digest:
                raise Conflict("The installation was given another version meanwhile.")
            if await read_variants(session, installation, manifest) != variants:
                raise Conflict("What regions or stores override was changed meanwhile.")
            config = with_kept(config, installation.config, kept)
            was, held = shown(installation, version), installation.config
            installation.config = sealed(config, secrets, self._keys, installation)
            installation.revision = revision
            await publications.announce(installation, version)
            changed = [name for name in secrets if held.get(name) != installation.config.get(name)]
            await record_change(
                session,
                caller,
                "installation.configure",
                installation,
                before=was,
                after=shown(installation, version),
                secretsChanged=changed,
            )
        self._operations.announced()

    async def _begin(
        self,
        caller: Caller,
        installation_id: UUID,
        move: Move,
        *,
        force: bool = False,
        stored_data: StoredData | None = None,
        backlog: BacklogChoice | None = None,
        begin_at: BeginAt = BeginAt.WHERE_IT_STOPPED,
    ) -> Operation:
        transition = TRANSITIONS[move]
        async with self._transaction() as session:
            revision = None if transition.during is None else await PublicationLog(session).next_revision()
            installation, version = await self._lock(session, caller, installation_id, move)
            if move is Move.ACTIVATE:
                await check_version(self._packages, session, version)
                await check_libraries(session, installation, version)
                manifest = read_manifest(version)
                await check_dependencies(session, manifest, installation.organization_id, installation.store_id)
                await check_entitled(session, installation.organization_id, manifest)
            if move in (Move.DEACTIVATE, Move.UNINSTALL):
                await check_not_needed(session, installation, active_only=move is Move.DEACTIVATE)
            # What never was installed has set nothing up, so a hook that fails must not keep it from being removed.
            ignore_failure = move is Move.UNINSTALL and (force or installation.installed_at is None)
            before, was = remember(installation, STATUS), shown(installation, version)
            discard = backlog is BacklogChoice.DISCARD or _begins_afresh(installation, move, begin_at)
            if backlog is not None:
                installation.backlog = backlog.published
            return await self._operations.begin(
                session,
                installation,
                version,
                transition,
                revision=revision,
                before=before,
                by=Actor.of(caller),
                was=was,
                ignore_failure=ignore_failure,
                stored_data=stored_data,
                discard_backlog=discard,
            )

    async def _lock(self, session: AsyncSession, caller: Caller, installation_id: UUID, move: Move) -> Row:
        installations = InstallationRepository(session)
        installation, version = check_manages(caller, await installations.lock(installation_id))
        self._operations.check_idle(installation, await installations.now())
        check_move(move, Status(installation.status), installed=installation.installed_at is not None)
        return installation, version

    async def _to_retry(
        self, installations: InstallationRepository, overlapping: Sequence[Installation], store: str | None
    ) -> Installation | None:
        """The installation that a new attempt takes over; None: there is none yet. Raises Conflict."""
        if not overlapping:
            return None
        found = overlapping[0]
        self._operations.check_idle(found, await installations.now())
        legal = legal_moves(Status(found.status), installed=found.installed_at is not None)
        if found.store_id != store or Move.INSTALL not in legal:
            where = "the whole organization" if found.store_id is None else f"store {found.store_id!r}"
            raise Conflict(
                f"The plugin {found.plugin_id!r} is installed for {where} already, in status {found.status!r}.",
                code="already_installed",
                remedy="Uninstall it there first, or use that installation.",
                installationId=str(found.id),
            )
        return found


async def _shown(installations: InstallationRepository, installation: Installation) -> State:
    """The state of an installation that is locked, with the version that it has now."""
    row = await installations.get(installation.id)
    return NOTHING if row is None else shown(*row)


async def wanted_version(session: AsyncSession, plugin_id: str, wanted: str | None, organization: str) -> PluginVersion:
    """A version that is on offer to an organization; None: the latest. Raises NotFound or Conflict."""
    catalogue = CatalogueRepository(session)
    plugin = await catalogue.plugin(plugin_id)
    own = plugin is not None and plugin.publisher_organization == organization
    latest = None if plugin is None else plugin.latest_version if own else plugin.latest_public
    name = wanted or latest
    if plugin is None or name is None:
        raise NotFound(f"The catalogue has no plugin {plugin_id!r}.", code="plugin_not_found")
    version = await catalogue.version(plugin_id, name)
    if version is None:
        raise NotFound(
            f"The plugin {plugin_id!r} has no version {name!r}; the latest is {latest or 'none'}.",
            code="version_not_found",
        )
    check_offered(plugin, version, organization)
    return version


def _begins_afresh(installation: Installation, move: Move, begin_at: BeginAt) -> bool:
    """Whether an activation leaves behind what waits: as asked, or because that was to be discarded before."""
    if move is not Move.ACTIVATE:
        return False
    discarded = installation.status == Status.INACTIVE and installation.backlog == "none"
    return begin_at is BeginAt.NOW or discarded
