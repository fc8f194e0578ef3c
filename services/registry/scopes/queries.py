"""Reading regions, overrides, and what is in effect in a place."""

from uuid import UUID

from services.common.auth import Caller
from services.common.errors import NotFound
from services.registry.catalogue.schemas import read_manifest
from services.registry.database import Transaction
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.scope import check_sees
from services.registry.scopes.effective import effective_grants, effective_settings
from services.registry.scopes.planning import no_region
from services.registry.scopes.repository import ScopeRepository
from services.registry.scopes.resolution import Layers
from services.registry.scopes.schemas import (
    EffectiveDocument,
    OverrideDocument,
    OverrideList,
    RegionDocument,
    RegionList,
)


class ScopeQueries:
    """What a caller may see: with a store's token, what is in effect in the store."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def regions(self, caller: Caller) -> RegionList:
        """By their ids; with a store's token, the region of the store, and no other store of it."""
        async with self._transaction() as session:
            scopes = ScopeRepository(session)
            regions, stores = await scopes.regions(caller.organization), await scopes.stores(caller.organization)
        items = [
            RegionDocument(
                id=region.id,
                name=region.name,
                stores=[store for store in stores.get(region.id, []) if caller.store in (None, store)],
            )
            for region in regions
            if caller.store is None or caller.store in stores.get(region.id, [])
        ]
        return RegionList(items=items)

    async def region(self, caller: Caller, region_id: str) -> RegionDocument:
        """Raises NotFound (``region_not_found``)."""
        found = next((each for each in (await self.regions(caller)).items if each.id == region_id), None)
        if found is None:
            raise no_region(region_id)
        return found

    async def overrides(self, caller: Caller, installation_id: UUID) -> OverrideList:
        """Raises NotFound (``installation_not_found``)."""
        async with self._transaction() as session:
            row = check_sees(caller, await InstallationRepository(session).get(installation_id))
            scopes = ScopeRepository(session)
            found = list(await scopes.overrides(installation_id))
            if caller.store is not None:
                region = await scopes.region_of(caller.organization, caller.store)
                found = Layers.of(found).at(region, caller.store)
        secrets = read_manifest(row[1]).secret_settings()
        return OverrideList(items=[OverrideDocument.of(each, secrets) for each in found])

    async def effective(self, caller: Caller, installation_id: UUID, store: str | None) -> EffectiveDocument:
        """Raises NotFound (``installation_not_found`` or ``not_in_effect``), or Forbidden for another store."""
        store = caller.choose_store(store)
        async with self._transaction() as session:
            row = check_sees(caller, await InstallationRepository(session).get(installation_id))
            installation, manifest = row[0], read_manifest(row[1])
            if installation.store_id is not None and store not in (None, installation.store_id):
                raise NotFound(f"The installation is not in effect in store {store!r}.", code="not_in_effect")
            store = installation.store_id or store
            scopes = ScopeRepository(session)
            region = None if store is None else await scopes.region_of(caller.organization, store)
            layers = Layers.of(await scopes.overrides(installation_id)).at(region, store)
        return EffectiveDocument(
            installation_id=installation.id,
            revision=installation.revision,
            store_id=store,
            region_id=region,
            settings=effective_settings(installation, manifest, layers),
            grants=effective_grants(installation, manifest, layers),
        )
