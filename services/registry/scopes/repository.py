"""SQL of regions and overrides."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.models import Installation
from services.registry.scopes.models import InstallationOverride, Region, RegionStore

Place: TypeAlias = tuple[str, str]
"""A level, region or store, and the id of one."""


class ScopeRepository:
    """Regions and overrides within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def regions(self, organization: str) -> Sequence[Region]:
        """All of an organization, by their ids."""
        own = col(Region.organization_id) == organization
        return (await self._session.exec(select(Region).where(own).order_by(col(Region.id)))).all()

    async def region(self, organization: str, region_id: str) -> Region | None:
        return await self._session.get(Region, (organization, region_id), populate_existing=True)

    async def put_region(self, organization: str, region_id: str, name: str) -> None:
        """Make a region, or give it another name."""
        await self._session.merge(Region(organization_id=organization, id=region_id, name=name))
        await self._session.flush()

    async def delete_region(self, region: Region) -> None:
        await self._session.delete(region)
        await self._session.flush()

    async def region_of(self, organization: str, store: str) -> str | None:
        """The region that a store is in."""
        found = await self._session.get(RegionStore, (organization, store), populate_existing=True)
        return None if found is None else found.region_id

    async def stores(self, organization: str) -> dict[str, list[str]]:
        """The stores of every region that has some."""
        found: dict[str, list[str]] = defaultdict(list)
        for store, region in (await self._regions(organization)).items():
            found[region].append(store)
        return found

    async def regions_of(self, organization: str, stores: Collection[str]) -> dict[str, str]:
        """The region by store, of those of ``stores`` that are in one."""
        return await self._regions(organization, col(RegionStore.store_id).in_(stores))

    async def regions_that_matter(self, organization: str, places: Iterable[Place]) -> dict[str, str]:
        """The region by store: of all stores of the regions, and of the stores, that ``places`` names."""
        named: dict[str, list[str]] = {"region": [], "store": []}
        for level, place in places:
            named[level].append(place)
        return await self._regions(
            organization,
            or_(col(RegionStore.region_id).in_(named["region"]), col(RegionStore.store_id).in_(named["store"])),
        )

    async def _regions(self, organization: str, *wanted: ColumnElement[bool]) -> dict[str, str]:
        statement = select(col(RegionStore.store_id), col(RegionStore.region_id)).where(
            col(RegionStore.organization_id) == organization, *wanted
        )
        return dict((await self._session.exec(statement.order_by(col(RegionStore.store_id)))).all())

    async def set_stores(self, organization: str, region_id: str, stores: Collection[str]) -> None:
        """Let a region have these stores and no others."""
        await self._session.exec(
            delete(RegionStore).where(
                col(RegionStore.organization_id) == organization, col(RegionStore.region_id) == region_id
            )
        )
        self._session.add_all(
            RegionStore(organization_id=organization, store_id=store, region_id=region_id) for store in stores
        )
        await self._session.flush()

    async def overrides(self, installation_id: UUID) -> Sequence[InstallationOverride]:
        """Of one installation, as they are now: the regions' first, by place."""
        statement = (
            select(InstallationOverride)
            .where(col(InstallationOverride.installation_id) == installation_id)
            .order_by(col(InstallationOverride.level), col(InstallationOverride.place_id))
            .execution_options(populate_existing=True)
        )
        return (await self._session.exec(statement)).all()

    async def overriding(self, organization: str, region_id: str) -> Sequence[UUID]:
        """The installations of an organization that are otherwise in a region."""
        statement = (
            select(col(InstallationOverride.installation_id))
            .join(Installation, col(Installation.id) == col(InstallationOverride.installation_id))
            .where(
                col(Installation.organization_id) == organization,
                col(InstallationOverride.level) == "region",
                col(InstallationOverride.place_id) == region_id,
            )
            .order_by(col(InstallationOverride.installation_id))
        )
        return (await self._session.exec(statement)).all()

    async def put(self, override: InstallationOverride) -> None:
        """Write an override, in the place of a former one."""
        await self._session.merge(override)
        await self._session.flush()

    async def delete(self, override: InstallationOverride) -> None:
        await self._session.delete(override)
        await self._session.flush()
