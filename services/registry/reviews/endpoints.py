"""HTTP routes of reviews."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status

from services.common.auth import MANAGES, SEES, Caller, Right, Role, require
from services.common.errors import NotFound
from services.common.wire import BEARER, MAX_PAGE, Page, problems
from services.registry.reviewers import Reviewer, check_operator
from services.registry.reviews.repository import ReviewFilter
from services.registry.reviews.schemas import (
    FeaturedRequest,
    ReplyRequest,
    ReportRequest,
    ReviewDocument,
    ReviewRequest,
    VisibilityRequest,
)
from services.registry.reviews.service import ReviewService

router = APIRouter(prefix="/api/plugins", tags=["reviews"], dependencies=[BEARER])


def _service(request: Request) -> ReviewService:
    service: ReviewService = request.app.state.reviews
    return service


def _id(review_id: str) -> UUID:
    try:
        return UUID(review_id)
    except ValueError:
        raise NotFound("There is no such review.", code="review_not_found") from None


PLUGIN = "/marketplace/{plugin_id}"
CHANGING = problems(401, 403, 404, 409, 422)

Reader = Annotated[Caller, Depends(require(SEES | {Role.PUBLISHER, Role.REVIEWER}, right=Right.READ))]
Manager = Annotated[Caller, Depends(require(MANAGES))]
Publisher = Annotated[Caller, Depends(require(frozenset({Role.PUBLISHER})))]
Reporter = Annotated[Caller, Depends(require(MANAGES | {Role.PUBLISHER}))]
Service = Annotated[ReviewService, Depends(_service)]
ReviewId = Annotated[UUID, Depends(_id)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.get(f"{PLUGIN}/reviews", responses=problems(400, 401, 403, 422))
async def list_reviews(
    request: Request,
    caller: Reader,
    service: Service,
    plugin_id: str,
    rating: Annotated[int | None, Query(ge=1, le=5)] = None,
    limit: Limit = 50,
    cursor: str | None = None,
) -> Page[ReviewDocument]:
    """What organizations say of a plugin, the last changed first."""
    if caller.role is Role.REVIEWER:
        check_operator(request, caller)  # reviewers see what is hidden
    return await service.find(caller, ReviewFilter(plugin_id=plugin_id, rating=rating), limit, cursor)


@router.get("/reviews", responses=problems(400, 401, 403, 422))
async def list_reported(
    caller: Reviewer, service: Service, limit: Limit = 50, cursor: str | None = None
) -> Page[ReviewDocument]:
    """Reviews of all plugins that were reported and are still shown."""
    return await service.find(caller, ReviewFilter(reported=True), limit, cursor)


@router.put(f"{PLUGIN}/review", responses=CHANGING)
async def write_review(caller: Manager, service: Service, plugin_id: str, wanted: ReviewRequest) -> ReviewDocument:
    """The one review of the caller's organization, which must have the plugin installed."""
    return await service.write(caller, plugin_id, wanted)


@router.delete(f"{PLUGIN}/review", status_code=status.HTTP_204_NO_CONTENT, responses=CHANGING)
async def remove_review(caller: Manager, service: Service, plugin_id: str) -> None:
    """Take the review of the caller's organization back."""
    await service.remove(caller, plugin_id)


@router.put(f"{PLUGIN}/reviews/{{review_id}}/reply", responses=CHANGING)
async def reply(
    caller: Publisher, service: Service, plugin_id: str, review_id: ReviewId, wanted: ReplyRequest
) -> ReviewDocument:
    """The answer of the plugin's publisher."""
    return await service.reply(caller, plugin_id, review_id, wanted.reply)


@router.post(f"{PLUGIN}/reviews/{{review_id}}/report", status_code=status.HTTP_204_NO_CONTENT, responses=CHANGING)
async def report(
    caller: Reporter, service: Service, plugin_id: str, review_id: ReviewId, wanted: ReportRequest
) -> None:
    """Tell the reviewers that a review should not be shown."""
    await service.report(caller, plugin_id, review_id, wanted.reason)


@router.put(f"{PLUGIN}/reviews/{{review_id}}/visibility", responses=CHANGING)
async def set_visibility(
    caller: Reviewer, service: Service, plugin_id: str, review_id: ReviewId, wanted: VisibilityRequest
) -> ReviewDocument:
    """Hide a review, or show it again."""
    return await service.hide(caller, plugin_id, review_id, hidden=wanted.hidden, reason=wanted.reason)


@router.put(f"{PLUGIN}/featured", status_code=status.HTTP_204_NO_CONTENT, responses=CHANGING)
async def set_featured(caller: Reviewer, service: Service, plugin_id: str, wanted: FeaturedRequest) -> None:
    """Mark a plugin as featured, or no longer."""
    await service.feature(caller, plugin_id, featured=wanted.featured)
