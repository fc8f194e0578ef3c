"""The variants of one installation as the database has them now."""

from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.directory import Variant
from services.registry.models import Installation
from services.registry.scopes.repository import ScopeRepository
from services.registry.scopes.resolution import variants_of


async def read_variants(session: AsyncSession, installation: Installation, manifest: Manifest) -> tuple[Variant, ...]:
    """Empty for an installation of one store, and for one that is the same everywhere."""
    scopes = ScopeRepository(session)
    overrides = [] if installation.store_id is not None else await scopes.overrides(installation.id)
    if not overrides:
        return ()
    places = [(each.level, each.place_id) for each in overrides]
    regions = await scopes.regions_that_matter(installation.organization_id, places)
    return variants_of(installation.grants, overrides, regions, manifest)
