"""HTTP routes of regions, of what regions and stores have otherwise, and of what is in effect where."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, status

from services.common.wire import BEARER, Line, problems
from services.registry.installations.endpoints import InstallationId, Manager, Seer
from services.registry.scopes.queries import ScopeQueries
from services.registry.scopes.regions import RegionService
from services.registry.scopes.schemas import (
    EffectiveDocument,
    OverrideList,
    OverrideRequest,
    RegionDocument,
    RegionId,
    RegionList,
    RegionRequest,
)
from services.registry.scopes.service import OverrideService

router = APIRouter(prefix="/api/plugins", tags=["scopes"], dependencies=[BEARER])

READING = problems(401, 403, 404, 422)
CHANGING = problems(401, 403, 404, 409, 422, 503)

RegionPath = Annotated[RegionId, Path(alias="region_id")]
StorePath = Annotated[Line, Path(alias="store_id")]


def _queries(request: Request) -> ScopeQueries:
    queries: ScopeQueries = request.app.state.scope_queries
    return queries


def _regions(request: Request) -> RegionService:
    regions: RegionService = request.app.state.regions
    return regions


def _overrides(request: Request) -> OverrideService:
    overrides: OverrideService = request.app.state.overrides
    return overrides


@router.get("/regions", responses=problems(401, 403))
async def list_regions(request: Request, caller: Seer) -> RegionList:
    """The organization's regions; with a store's token, the one that the store is in."""
    return await _queries(request).regions(caller)


@router.get("/regions/{region_id}", responses=READING)
async def read_region(request: Request, caller: Seer, region_id: RegionPath) -> RegionDocument:
    """One region with its stores."""
    return await _queries(request).region(caller, region_id)


@router.put("/regions/{region_id}", responses=CHANGING)
async def put_region(request: Request, caller: Manager, region_id: RegionPath, wanted: RegionRequest) -> RegionDocument:
    """Make a region, or give it this name and these stores."""
    await _regions(request).put(caller, region_id, wanted.name, wanted.stores)
    return await _queries(request).region(caller, region_id)


@router.delete("/regions/{region_id}", status_code=status.HTTP_204_NO_CONTENT, responses=CHANGING)
async def delete_region(request: Request, caller: Manager, region_id: RegionPath) -> None:
    """Forget a region for which nothing is overridden."""
    await _regions(request).delete(caller, region_id)


@router.get("/{installation_id}/overrides", responses=READING)
async def list_overrides(request: Request, caller: Seer, installation_id: InstallationId) -> OverrideList:
    """What regions and stores have otherwise; with a store's token, what is in effect in the store."""
    return await _queries(request).overrides(caller, installation_id)


@router.put("/{installation_id}/overrides/regions/{region_id}", responses=CHANGING)
async def override_in_region(
    request: Request, caller: Manager, installation_id: InstallationId, region_id: RegionPath, wanted: OverrideRequest
) -> OverrideList:
    """Override settings and grants in all stores of a region."""
    await _overrides(request).put(caller, installation_id, "region", region_id, wanted)
    return await _queries(request).overrides(caller, installation_id)


@router.delete(
    "/{installation_id}/overrides/regions/{region_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CHANGING,
)
async def inherit_in_region(
    request: Request, caller: Manager, installation_id: InstallationId, region_id: RegionPath
) -> None:
    """Let a region have what the organization has."""
    await _overrides(request).delete(caller, installation_id, "region", region_id)


@router.put("/{installation_id}/overrides/stores/{store_id}", responses=CHANGING)
async def override_in_store(
    request: Request, caller: Manager, installation_id: InstallationId, store_id: StorePath, wanted: OverrideRequest
) -> OverrideList:
    """Override settings and grants in a store. A store's token may withhold there, and grant nothing."""
    await _overrides(request).put(caller, installation_id, "store", store_id, wanted)
    return await _queries(request).overrides(caller, installation_id)


@router.delete(
    "/{installation_id}/overrides/stores/{store_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CHANGING,
)
async def inherit_in_store(
    request: Request, caller: Manager, installation_id: InstallationId, store_id: StorePath
) -> None:
    """Let a store have what its region or the organization has."""
    await _overrides(request).delete(caller, installation_id, "store", store_id)


@router.get("/{installation_id}/effective", responses=READING)
async def read_effective(
    request: Request,
    caller: Seer,
    installation_id: InstallationId,
    store_id: Annotated[
        Line | None, Query(alias="storeId", description="Without it, the organization's level (or the token's store).")
    ] = None,
) -> EffectiveDocument:
    """Every setting and grant in a store, with where it comes from."""
    return await _queries(request).effective(caller, installation_id, store_id)
