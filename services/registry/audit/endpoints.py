"""HTTP routes of the audit log. Nothing here changes it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from services.common.auth import MANAGES, Caller, require
from services.common.wire import BEARER, MAX_PAGE, Line, Page, problems
from services.registry.audit.repository import AuditFilter
from services.registry.audit.schemas import AuditEntryDocument, VerificationDocument
from services.registry.audit.service import AuditService

MEDIA_TYPE = "application/jsonl"

router = APIRouter(prefix="/api/plugins/audit", tags=["audit log"], dependencies=[BEARER])


def _service(request: Request) -> AuditService:
    service: AuditService = request.app.state.audit
    return service


Manager = Annotated[Caller, Depends(require(MANAGES))]
Audit = Annotated[AuditService, Depends(_service)]


@router.get("", responses=problems(400, 401, 403, 422))
async def list_entries(
    caller: Manager,
    audit: Audit,
    action: Annotated[Line | None, Query(description="As in `installation.activate`.")] = None,
    subject: Annotated[Line | None, Query(description="Who did it: the `sub` of the token.")] = None,
    plugin_id: Annotated[Line | None, Query(alias="pluginId")] = None,
    installation_id: Annotated[Line | None, Query(alias="installationId")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before then.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> Page[AuditEntryDocument]:
    """What was done in the caller's organization, newest first."""
    wanted = AuditFilter(
        organization=caller.organization,
        action=action,
        subject=subject,
        plugin_id=plugin_id,
        installation_id=installation_id,
        since=_text(since),
        until=_text(until),
    )
    return await audit.find(caller, wanted, limit, cursor)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=problems(401, 403, 503) | {200: {"content": {MEDIA_TYPE: {}}}},
)
async def export(caller: Manager, audit: Audit) -> StreamingResponse:
    """The whole chain as JSON Lines, oldest first, as it was hashed; the last line tells that nothing was cut off."""
    lines = await audit.export(caller)
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=headers)


@router.get("/verify", responses=problems(401, 403, 503))
async def verify(caller: Manager, audit: Audit) -> VerificationDocument:
    """Recompute the whole chain; the first entry that is changed, missing or out of its place is named."""
    return await audit.verify(caller)


def _text(moment: datetime | None) -> str | None:
    """As entries have it, so that it compares as text."""
    if moment is None:
        return None
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:  # an offset that leads out of the calendar
        moment = moment.replace(tzinfo=UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
