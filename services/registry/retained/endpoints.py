"""HTTP routes of what former installations left. The workers have it; the registry says who may see it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from services.common.auth import MANAGES, Caller, require
from services.common.runtime_client import RetainedData, RuntimeClient
from services.common.wire import BEARER, problems
from services.registry.audit.trail import record
from services.registry.database import Transaction
from services.registry.installations.endpoints import InstallationId
from services.registry.retained.schemas import RetainedDocument, RetainedList

MEDIA_TYPE = "application/jsonl"
LIST_SECONDS = 10.0
EXPORT_SECONDS = 3600.0

router = APIRouter(prefix="/api/plugins/retained", tags=["retained data"], dependencies=[BEARER])


def _runtime(request: Request) -> RuntimeClient:
    runtime: RuntimeClient = request.app.state.runtime
    return runtime


Manager = Annotated[Caller, Depends(require(MANAGES))]
Runtime = Annotated[RuntimeClient, Depends(_runtime)]


@router.get("", responses=problems(401, 403, 503, 504))
async def list_retained(caller: Manager, runtime: Runtime) -> RetainedList:
    """What was kept or is ready to be exported; with a store's token, of that store."""
    found = await runtime.retained_data(caller.organization, caller.store, deadline=LIST_SECONDS)
    return RetainedList(items=[_document(each) for each in found])


@router.get(
    "/{installation_id}/export",
    response_class=StreamingResponse,
    responses=problems(401, 403, 404, 422, 503, 504) | {200: {"content": {MEDIA_TYPE: {}}}},
)
async def export(
    caller: Manager, installation_id: InstallationId, runtime: Runtime, request: Request
) -> StreamingResponse:
    """All that an installation left, as JSON Lines. An archive that was sent whole ends with a line of type "end"."""
    parts = await runtime.export_retained_data(
        str(installation_id), caller.organization, caller.store, deadline=EXPORT_SECONDS
    )
    transaction: Transaction = request.app.state.transaction
    async with transaction() as session:  # before anything of it leaves
        about = {"installationId": str(installation_id)}
        await record(session, caller.organization, caller, "retained-data.export", about)
    disposition = f'attachment; filename="{installation_id}.jsonl"'
    return StreamingResponse(parts, media_type=MEDIA_TYPE, headers={"Content-Disposition": disposition})


def _document(found: RetainedData) -> RetainedDocument:
    return RetainedDocument.model_validate(
        {
            "installation_id": found.installation_id,
            "plugin_id": found.plugin_id,
            "version": found.version,
            "store_id": found.store_id,
            "data": found.stored_data.value,
            "uninstalled_at": found.retained_at,
            "expires_at": found.expires_at,
        }
    )
