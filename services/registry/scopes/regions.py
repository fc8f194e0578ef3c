"""Regions: named groups of an organization's stores."""

from collections.abc import Sequence
from uuid import UUID

from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden
from services.registry.audit.trail import record
from services.registry.database import Transaction
from services.registry.installations.operations import Operations
from services.registry.installations.publication import PublicationLog
from services.registry.scopes.planning import Reading, changed_meanwhile, no_region, overridable
from services.registry.scopes.repository import ScopeRepository

SHOWN_STORES = 20


class RegionService:
    """Changes regions, for whoever manages the whole organization. All methods raise OutletError."""

    def __init__(self, transaction: Transaction, operations: Operations) -> None:
        self._transaction = transaction
        self._operations = operations

    async def put(self, caller: Caller, region_id: str, name: str, stores: Sequence[str]) -> None:
        """Make a region, or give it another name and other stores.

        Installations that override for it must be valid everywhere afterwards, and are announced.
        """
        check_whole_organization(caller)
        wanted = list(dict.fromkeys(stores))
        former: dict[UUID, Reading] = {}
        async with self._transaction() as session:
            scopes = ScopeRepository(session)
            await _check_free(scopes, caller.organization, region_id, wanted)
            for each in await scopes.overriding(caller.organization, region_id):
                former[each] = await Reading.of(session, await overridable(session, caller, each))
        for reading in former.values():
            others = {store: region for store, region in reading.regions.items() if region != region_id}
            await reading.check(reading.overrides, others | dict.fromkeys(wanted, region_id))
        async with self._transaction() as session:
            publications, scopes = PublicationLog(session), ScopeRepository(session)
            await publications.hold()
            await _check_free(scopes, caller.organization, region_id, wanted)
            rows = []
            for each in await scopes.overriding(caller.organization, region_id):
                if each not in former:
                    raise changed_meanwhile()
                rows.append(await overridable(session, caller, each, self._operations))
                (await Reading.of(session, rows[-1])).check_unchanged(former[each])
            await scopes.put_region(caller.organization, region_id, name)
            await scopes.set_stores(caller.organization, region_id, wanted)
            for installation, version in rows:
                installation.revision = await publications.next_revision()
                await publications.announce(installation, version)
            after = {"name": name, "stores": wanted}
            await record(session, caller.organization, caller, "region.set", {"regionId": region_id}, after=after)
        self._operations.announced()

    async def delete(self, caller: Caller, region_id: str) -> None:
        """Forget a region for which nothing is overridden."""
        check_whole_organization(caller)
        async with self._transaction() as session:
            await PublicationLog(session).hold()  # nobody overrides for it meanwhile
            scopes = ScopeRepository(session)
            region = await scopes.region(caller.organization, region_id)
            if region is None:
                raise no_region(region_id)
            overriding = await scopes.overriding(caller.organization, region_id)
            if overriding:
                raise Conflict(
                    f"Region {region_id!r} is overridden for by {len(overriding)} installations.",
                    code="region_in_use",
                    remedy="Delete these overrides first.",
                    installationIds=[str(each) for each in overriding],
                )
            await scopes.set_stores(caller.organization, region_id, [])
            await scopes.delete_region(region)
            await record(session, caller.organization, caller, "region.delete", {"regionId": region_id})


def check_whole_organization(caller: Caller) -> None:
    """Raises Forbidden (``wrong_store``) for a store's token."""
    if caller.store is not None:
        raise Forbidden(
            f"This token is bound to store {caller.store!r}; regions are the organization's.", code="wrong_store"
        )


async def _check_free(scopes: ScopeRepository, organization: str, region_id: str, stores: Sequence[str]) -> None:
    regions = await scopes.regions_of(organization, stores)
    taken = {store: region for store, region in regions.items() if region != region_id}
    if taken:
        shown = ", ".join(f"{store} is in {taken[store]}" for store in sorted(taken)[:SHOWN_STORES])
        raise Conflict(
            f"A store is in one region at most: {shown}.",
            code="store_in_other_region",
            remedy="Take these stores out of their regions first.",
        )
