"""Installing what a plugin needs with it, and stopping or removing what needs it."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.common.runtime_client import StoredData
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.configuration import complete_config
from services.registry.database import Transaction
from services.registry.dependencies.libraries import resolved_libraries
from services.registry.dependencies.repository import DependencyRepository
from services.registry.dependencies.resolution import Chosen, resolve
from services.registry.installations.backlog import BacklogChoice
from services.registry.installations.lifecycle import Move, Status, check_move
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.requirements import dependants
from services.registry.installations.schemas import InstallRequest
from services.registry.installations.scope import check_manages
from services.registry.installations.service import InstallationService, wanted_version
from services.registry.models import Installation, PluginVersion


class DependencyService:
    """What goes beyond one installation. All methods raise OutletError, with the status and code for the caller."""

    def __init__(self, transaction: Transaction, installations: InstallationService) -> None:
        self._transaction = transaction
        self._installations = installations

    async def plan(
        self, caller: Caller, plugin_id: str, version: str | None, store: str | None
    ) -> list[tuple[Chosen, PluginVersion]]:
        """All that has to be there for a plugin, itself last, with what of it is installed already."""
        place = caller.choose_store(store)
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            root = await wanted_version(session, plugin_id, version, caller.organization)
            await resolved_libraries(session, root, caller.organization)  # what cannot be had is said now
            offered = (await DependencyRepository(session).needs(plugin_id, caller.organization)).of_plugins()
            present = await InstallationRepository(session).installed_versions(caller.organization, place)
            present.pop(plugin_id, None)
            found = []
            for chosen in resolve(plugin_id, root.version, present, offered):
                row = await catalogue.version(chosen.plugin_id, chosen.version)
                assert row is not None  # noqa: S101  it was chosen from the catalogue, where versions stay
                found.append((chosen, row))
        return found

    async def install(self, caller: Caller, wanted: InstallRequest) -> UUID:
        """Install what a plugin needs where it is missing, each with all that it asks for, and then the plugin.

        When one of them fails, those before it stay installed; the same request goes on from there.
        """
        plan = await self.plan(caller, wanted.plugin_id, wanted.version, wanted.store_id)
        missing = [row for chosen, row in plan[:-1] if not chosen.installed]
        for row in missing:  # before anything happens
            manifest = read_manifest(row)
            await complete_config({}, manifest.settings_schema, secrets=manifest.secret_settings())
        for row in missing:
            own = InstallRequest(plugin_id=row.plugin_id, version=row.version, store_id=wanted.store_id)
            await self._installations.install(caller, own)
        return await self._installations.install(caller, wanted)

    async def deactivate(self, caller: Caller, installation_id: UUID, backlog: BacklogChoice) -> None:
        """Stop what needs an installation, and then the installation itself."""

        async def stop(each: UUID, status: Status) -> None:
            if status is Status.ACTIVE or each == installation_id:
                await self._installations.deactivate(caller, each, backlog)

        await self._dependants_first(caller, installation_id, Move.DEACTIVATE, stop)

    async def uninstall(
        self, caller: Caller, installation_id: UUID, *, force: bool, stored_data: StoredData | None
    ) -> None:
        """Stop and remove what needs an installation, and then remove the installation itself."""

        async def remove(each: UUID, status: Status) -> None:
            if status is Status.ACTIVE and each != installation_id:
                await self._installations.deactivate(caller, each, BacklogChoice.DISCARD)
            await self._installations.uninstall(caller, each, force=force, stored_data=stored_data)

        await self._dependants_first(caller, installation_id, Move.UNINSTALL, remove)

    async def _dependants_first(
        self, caller: Caller, installation_id: UUID, move: Move, act: Callable[[UUID, Status], Awaitable[None]]
    ) -> None:
        async with self._transaction() as session:
            row = check_manages(caller, await InstallationRepository(session).get(installation_id))
            check_move(move, Status(row[0].status), installed=row[0].installed_at is not None)
            ordered: dict[UUID, Installation] = {}
            await _collect(session, row[0], ordered)
        for each in ordered.values():
            await act(each.id, Status(each.status))


async def _collect(session: AsyncSession, installation: Installation, ordered: dict[UUID, Installation]) -> None:
    """Whoever needs it, before it. Plugins that need each other in a circle cannot have been installed."""
    if installation.id in ordered:
        return
    organization, store = installation.organization_id, installation.store_id
    for other, _ in await dependants(session, organization, installation.plugin_id, store):
        await _collect(session, other, ordered)
    ordered[installation.id] = installation
