"""HTTP routes of licences."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, status

from services.common.auth import MANAGES, SEES, Caller, Right, require
from services.common.errors import TooLarge
from services.common.wire import BEARER, Line, problems
from services.registry.licences.schemas import (
    CheckoutDocument,
    CheckoutRequest,
    LicenceDocument,
    LicenceList,
    WebhookAnswer,
)
from services.registry.licences.service import LicenceService

MAX_WEBHOOK = 256 * 1024

router = APIRouter(prefix="/api/plugins", tags=["licences"], dependencies=[BEARER])
public = APIRouter(prefix="/api/plugins", tags=["licences"])


def _service(request: Request) -> LicenceService:
    service: LicenceService = request.app.state.licences
    return service


LICENCE = "/marketplace/{plugin_id}/licence"

Seer = Annotated[Caller, Depends(require(SEES, right=Right.READ))]
Manager = Annotated[Caller, Depends(require(MANAGES))]
Service = Annotated[LicenceService, Depends(_service)]


@router.get("/licences", responses=problems(401, 403))
async def list_licences(caller: Seer, service: Service) -> LicenceList:
    """The licences of the caller's organization."""
    return LicenceList(items=await service.find(caller))


@router.post(f"{LICENCE}/trial", status_code=status.HTTP_201_CREATED, responses=problems(401, 403, 404, 409, 422))
async def begin_trial(caller: Manager, service: Service, plugin_id: Line) -> LicenceDocument:
    """Use a plugin before it is paid for, for as long as its price says; once."""
    return await service.begin_trial(caller, plugin_id)


@router.post(
    f"{LICENCE}/checkout",
    status_code=status.HTTP_201_CREATED,
    responses=problems(401, 403, 404, 409, 422, 502, 503),
)
async def check_out(caller: Manager, service: Service, plugin_id: Line, wanted: CheckoutRequest) -> CheckoutDocument:
    """Where to pay for a plugin, at the payment provider's own page."""
    return await service.check_out(caller, plugin_id, wanted)


@router.post(f"{LICENCE}/cancel", responses=problems(401, 403, 404, 422, 502, 503))
async def cancel(caller: Manager, service: Service, plugin_id: Line) -> LicenceDocument:
    """Let a subscription end with the period that is paid."""
    return await service.cancel(caller, plugin_id)


@public.post("/payments/{provider}/webhook", responses=problems(400, 404, 413, 422))
async def take_webhook(request: Request, service: Service, provider: Line) -> WebhookAnswer:
    """What a payment provider tells; it is believed by its signature, and needs no token."""
    body = await request.body()
    if len(body) > MAX_WEBHOOK:
        raise TooLarge(f"The body is larger than {MAX_WEBHOOK} bytes.")
    return WebhookAnswer(outcome=await service.take_webhook(provider, body, request.headers))
