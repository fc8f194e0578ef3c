"""HTTP routes of staged roll-outs."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, status

from services.common.errors import NotFound
from services.common.wire import BEARER, problems
from services.registry.installations.endpoints import Manager, Seer
from services.registry.rollouts.schemas import RolloutDocument, RolloutRequest, RolloutSummary
from services.registry.rollouts.service import RolloutService

router = APIRouter(prefix="/api/plugins/rollouts", tags=["rollouts"], dependencies=[BEARER])


def _service(request: Request) -> RolloutService:
    service: RolloutService = request.app.state.rollouts
    return service


def _id(rollout_id: str) -> UUID:
    try:
        return UUID(rollout_id)
    except ValueError:
        raise NotFound("There is no such roll-out.", code="rollout_not_found") from None


Service = Annotated[RolloutService, Depends(_service)]
RolloutId = Annotated[UUID, Depends(_id)]

CHANGING = problems(401, 403, 404, 409, 422)


@router.get("", responses=problems(401, 403))
async def list_rollouts(caller: Seer, service: Service) -> list[RolloutSummary]:
    """The roll-outs of the organization, the newest first (100 at most)."""
    return await service.list(caller)


@router.post("", status_code=status.HTTP_201_CREATED, responses=CHANGING)
async def begin_rollout(
    caller: Manager, service: Service, wanted: RolloutRequest, response: Response
) -> RolloutDocument:
    """Bring a version to the stores in stages; it goes on, or back, by itself."""
    rollout_id = await service.begin(caller, wanted)
    response.headers["Location"] = f"/api/plugins/rollouts/{rollout_id}"
    return await service.read(caller, rollout_id)


@router.get("/{rollout_id}", responses=problems(401, 403, 404, 422))
async def read_rollout(caller: Seer, service: Service, rollout_id: RolloutId) -> RolloutDocument:
    """How far a roll-out is, store by store."""
    return await service.read(caller, rollout_id)


@router.post("/{rollout_id}/cancel", responses=CHANGING)
async def cancel_rollout(caller: Manager, service: Service, rollout_id: RolloutId) -> RolloutDocument:
    """Go no further; the stores stay as they are."""
    await service.end(caller, rollout_id, "cancelled")
    return await service.read(caller, rollout_id)


@router.post("/{rollout_id}/rollback", responses=CHANGING)
async def roll_back_rollout(caller: Manager, service: Service, rollout_id: RolloutId) -> RolloutDocument:
    """Take all stores that were updated back to what they had."""
    await service.end(caller, rollout_id, "rolling-back")
    return await service.read(caller, rollout_id)
