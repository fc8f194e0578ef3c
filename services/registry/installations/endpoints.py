"""HTTP routes of installations."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status

from outlet.manifest import Category
from services.common.auth import MANAGES, SEES, Caller, Right, require
from services.common.errors import NotFound
from services.common.runtime_client import StoredData
from services.common.wire import BEARER, MAX_PAGE, Line, Page, problems
from services.registry.dependencies.service import DependencyService
from services.registry.installations.backlog import BacklogChoice, BeginAt
from services.registry.installations.lifecycle import Status
from services.registry.installations.queries import InstallationQueries
from services.registry.installations.repository import InstallationFilter
from services.registry.installations.schemas import (
    ConfigRequest,
    InstallationDetails,
    InstallationStats,
    InstallationSummary,
    InstallRequest,
)
from services.registry.installations.service import InstallationService

router = APIRouter(prefix="/api/plugins", tags=["installations"], dependencies=[BEARER])


def _service(request: Request) -> InstallationService:
    service: InstallationService = request.app.state.installations
    return service


def _dependencies(request: Request) -> DependencyService:
    service: DependencyService = request.app.state.dependencies
    return service


def _queries(request: Request) -> InstallationQueries:
    queries: InstallationQueries = request.app.state.installation_queries
    return queries


def _id(installation_id: str) -> UUID:
    try:
        return UUID(installation_id)
    except ValueError:
        raise NotFound("There is no such installation.", code="installation_not_found") from None


Seer = Annotated[Caller, Depends(require(SEES, right=Right.READ))]
Manager = Annotated[Caller, Depends(require(MANAGES, right=Right.INSTALL))]
Service = Annotated[InstallationService, Depends(_service)]
Queries = Annotated[InstallationQueries, Depends(_queries)]
Dependencies = Annotated[DependencyService, Depends(_dependencies)]
InstallationId = Annotated[UUID, Depends(_id)]
Cascade = Annotated[
    bool, Query(description="Do the same with what needs it, first; otherwise it is refused when others need it.")
]

READING = problems(401, 403, 404, 422)
CHANGING = problems(401, 403, 404, 409, 422, 502, 503, 504)


@router.get("", responses=problems(400, 401, 403, 422))
async def list_installations(
    caller: Seer,
    queries: Queries,
    status: Status | None = None,
    category: Category | None = None,
    plugin_id: Annotated[Line | None, Query(alias="pluginId")] = None,
    store_id: Annotated[Line | None, Query(alias="storeId", description="In effect in this store.")] = None,
    search: Annotated[Line | None, Query(description="Text in plugin id, name or description.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> Page[InstallationSummary]:
    """The installations in the caller's organization; with a store's token, those in effect in the store."""
    wanted = InstallationFilter(
        organization=caller.organization,
        bound_to=caller.store,
        status=status,
        category=category,
        plugin_id=plugin_id,
        store=store_id,
        search=search,
    )
    return await queries.find(wanted, limit, cursor)


@router.post("/install", status_code=status.HTTP_201_CREATED, responses=CHANGING)
async def install(
    caller: Manager,
    service: Service,
    dependencies: Dependencies,
    queries: Queries,
    wanted: InstallRequest,
    response: Response,
) -> InstallationDetails:
    """Install a plugin; it is inactive afterwards. After a failed attempt, the same request tries again."""
    install_it = dependencies.install if wanted.with_dependencies else service.install
    installation_id = await install_it(caller, wanted)
    response.headers["Location"] = f"/api/plugins/{installation_id}"
    return await queries.details(caller, installation_id)


@router.get("/{installation_id}", responses=READING)
async def read_installation(caller: Seer, installation_id: InstallationId, queries: Queries) -> InstallationDetails:
    """One installation with its errors and rollout."""
    return await queries.details(caller, installation_id)


@router.get("/{installation_id}/stats", responses=READING)
async def read_stats(caller: Seer, installation_id: InstallationId, queries: Queries) -> InstallationStats:
    """The usage and health of one installation."""
    return await queries.stats(caller, installation_id)


@router.post("/{installation_id}/activate", responses=CHANGING | problems(402))
async def activate(
    caller: Manager,
    installation_id: InstallationId,
    service: Service,
    queries: Queries,
    begin_at: Annotated[
        BeginAt, Query(alias="from", description="Whether the plugin is given the events that were kept for it.")
    ] = BeginAt.WHERE_IT_STOPPED,
) -> InstallationDetails:
    """Let the plugin hear events, serve its routes and show its components."""
    await service.activate(caller, installation_id, begin_at)
    return await queries.details(caller, installation_id)


@router.post("/{installation_id}/deactivate", responses=CHANGING)
async def deactivate(
    caller: Manager,
    installation_id: InstallationId,
    service: Service,
    dependencies: Dependencies,
    queries: Queries,
    backlog: Annotated[
        BacklogChoice,
        Query(
            description="Of events that wait for the plugin, and of new ones: kept until it is activated again "
            "(`pause`); those that wait still run (`drain`); neither runs any more (`discard`)."
        ),
    ] = BacklogChoice.PAUSE,
    cascade: Cascade = False,
) -> InstallationDetails:
    """Stop the plugin, and keep what it stored."""
    stop = dependencies.deactivate if cascade else service.deactivate
    await stop(caller, installation_id, backlog)
    return await queries.details(caller, installation_id)


@router.delete("/{installation_id}", status_code=status.HTTP_204_NO_CONTENT, responses=CHANGING)
async def uninstall(
    caller: Manager,
    installation_id: InstallationId,
    service: Service,
    dependencies: Dependencies,
    force: Annotated[bool, Query(description="Remove it even when onUninstall fails.")] = False,
    data: Annotated[
        StoredData | None,
        Query(
            description="What becomes of what it stored: dropped, kept for the next installation of the plugin in the "
            "same place, or left to be exported. Without it, as asked at the last attempt, else dropped."
        ),
    ] = None,
    cascade: Cascade = False,
) -> None:
    """Remove an inactive installation."""
    remove = dependencies.uninstall if cascade else service.uninstall
    await remove(caller, installation_id, force=force, stored_data=data)


@router.put("/{installation_id}/config", responses=CHANGING)
async def configure(
    caller: Manager, installation_id: InstallationId, service: Service, queries: Queries, wanted: ConfigRequest
) -> InstallationDetails:
    """Replace the whole configuration."""
    await service.configure(caller, installation_id, wanted.config)
    return await queries.details(caller, installation_id)
