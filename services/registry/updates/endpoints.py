"""HTTP routes of updates."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from services.common.wire import BEARER, Line, problems
from services.registry.installations.endpoints import CHANGING, InstallationId, Manager, Queries, Seer
from services.registry.installations.schemas import InstallationDetails
from services.registry.updates.queries import UpdateQueries
from services.registry.updates.schemas import InstallPlan, PolicyDocument, UpdatePlan, UpdateRequest, UpdateSummary
from services.registry.updates.service import UpdateService

router = APIRouter(prefix="/api/plugins", tags=["updates"], dependencies=[BEARER])


def _service(request: Request) -> UpdateService:
    service: UpdateService = request.app.state.updates
    return service


def _queries(request: Request) -> UpdateQueries:
    queries: UpdateQueries = request.app.state.update_queries
    return queries


Updates = Annotated[UpdateService, Depends(_service)]
Reading = Annotated[UpdateQueries, Depends(_queries)]
Version = Annotated[Line | None, Query(description="Without it, the latest release.")]


@router.get("/updates", responses=problems(401, 403))
async def list_updates(caller: Seer, reading: Reading) -> list[UpdateSummary]:
    """The installations for which there is another version, and whether somebody has to agree to it."""
    return await reading.waiting(caller)


@router.get("/policies/updates", responses=problems(401, 403))
async def read_policy(caller: Seer, reading: Reading) -> PolicyDocument:
    """Which updates of the organization happen by themselves."""
    return PolicyDocument(policy=await reading.policy(caller.organization))


@router.put("/policies/updates", responses=problems(401, 403, 422))
async def set_policy(caller: Manager, reading: Reading, wanted: PolicyDocument) -> PolicyDocument:
    """Let updates of the organization happen by themselves, or not."""
    await reading.set_policy(caller, wanted.policy)
    return wanted


@router.get("/install/plan", responses=problems(401, 403, 404, 409, 422))
async def plan_installation(
    caller: Seer,
    reading: Reading,
    plugin_id: Annotated[Line, Query(alias="pluginId")],
    version: Version = None,
    store_id: Annotated[Line | None, Query(alias="storeId")] = None,
) -> InstallPlan:
    """What a plugin asks for and why, and which others it needs, before it is installed."""
    return await reading.install_plan(caller, plugin_id, version, store_id)


@router.get("/{installation_id}/update", responses=problems(401, 403, 404, 409, 422))
async def plan_update(
    caller: Seer, installation_id: InstallationId, reading: Reading, version: Version = None
) -> UpdatePlan:
    """What an update would change: what is new, what the plugin asks for, its settings."""
    return await reading.plan(caller, installation_id, version)


@router.post("/{installation_id}/update", responses=CHANGING)
async def update(
    caller: Manager, installation_id: InstallationId, service: Updates, queries: Queries, wanted: UpdateRequest
) -> InstallationDetails:
    """Update an installation. Its events wait meanwhile; when onUpdate fails, it stays at its present version."""
    await service.update(caller, installation_id, wanted)
    return await queries.details(caller, installation_id)


@router.post("/{installation_id}/rollback", responses=CHANGING)
async def roll_back(
    caller: Manager, installation_id: InstallationId, service: Updates, queries: Queries
) -> InstallationDetails:
    """Go back to the version, grants and configuration before the last update; what the plugin stored stays."""
    await service.roll_back(caller, installation_id)
    return await queries.details(caller, installation_id)
