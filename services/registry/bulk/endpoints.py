"""HTTP routes of bulk operations."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status

from services.common.errors import NotFound
from services.common.wire import BEARER, MAX_PAGE, Page, problems
from services.registry.bulk.schemas import BulkJobDetails, BulkJobDocument, BulkPreview, BulkRequest, ItemState
from services.registry.bulk.service import BulkService
from services.registry.installations.endpoints import Manager, Seer

router = APIRouter(prefix="/api/plugins/bulk", tags=["bulk"], dependencies=[BEARER])


def _service(request: Request) -> BulkService:
    service: BulkService = request.app.state.bulk
    return service


def _id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        raise NotFound("There is no such bulk job.", code="bulk_not_found") from None


Service = Annotated[BulkService, Depends(_service)]
JobId = Annotated[UUID, Depends(_id)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]

FIRST_PAGE = 50
READING = problems(400, 401, 403, 404, 422)
CHANGING = problems(401, 403, 404, 409, 422)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=CHANGING | {200: {"model": BulkPreview, "description": "A dry run: what would happen."}},
)
async def begin_bulk(
    caller: Manager, service: Service, wanted: BulkRequest, response: Response
) -> BulkJobDetails | BulkPreview:
    """Do one thing with a plugin in many stores; each store's failure is its own, and the others go on."""
    if wanted.dry_run:
        response.status_code = status.HTTP_200_OK
        return await service.preview(caller, wanted)
    job_id = await service.begin(caller, wanted)
    response.headers["Location"] = f"/api/plugins/bulk/{job_id}"
    return await service.read(caller, job_id, None, FIRST_PAGE, None)


@router.get("", responses=problems(400, 401, 403, 422))
async def list_bulk(
    caller: Seer, service: Service, limit: Limit = FIRST_PAGE, cursor: str | None = None
) -> Page[BulkJobDocument]:
    """The bulk jobs of the organization, the newest first."""
    return await service.page(caller, limit, cursor)


@router.get("/{job_id}", responses=READING)
async def read_bulk(
    caller: Seer,
    service: Service,
    job_id: JobId,
    state: ItemState | None = None,
    limit: Limit = FIRST_PAGE,
    cursor: str | None = None,
) -> BulkJobDetails:
    """How far a job is, and its stores (those in one state)."""
    return await service.read(caller, job_id, state, limit, cursor)


@router.post("/{job_id}/cancel", responses=CHANGING)
async def cancel_bulk(caller: Manager, service: Service, job_id: JobId) -> BulkJobDetails:
    """Leave undone what has not begun."""
    await service.cancel(caller, job_id)
    return await service.read(caller, job_id, None, FIRST_PAGE, None)


@router.post("/{job_id}/retry", responses=CHANGING)
async def retry_bulk(caller: Manager, service: Service, job_id: JobId) -> BulkJobDetails:
    """Try the stores again that failed."""
    await service.retry(caller, job_id)
    return await service.read(caller, job_id, None, FIRST_PAGE, None)
