"""HTTP routes for another registry that mirrors this one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from outlet.package import MEDIA_TYPE
from services.common.auth import Caller, Role, require
from services.common.wire import BEARER, MAX_PAGE, Page, problems
from services.registry.mirror.feed import MirrorFeed
from services.registry.mirror.schemas import MirroredVersion

router = APIRouter(prefix="/api/plugins/marketplace", tags=["mirror"], dependencies=[BEARER])


def _feed(request: Request) -> MirrorFeed:
    feed: MirrorFeed = request.app.state.mirror_feed
    return feed


Feed = Annotated[MirrorFeed, Depends(_feed)]
MirrorCaller = Annotated[Caller, Depends(require(frozenset({Role.MIRROR})))]
Name = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]


@router.get("/mirror", responses=problems(400, 401, 403, 422))
async def list_public_versions(
    _: MirrorCaller,
    feed: Feed,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: str | None = None,
) -> Page[MirroredVersion]:
    """Every version that is or was offered to everyone, with its signature and key, and whether it was taken back."""
    return await feed.find(limit, cursor)


@router.get(
    "/{plugin_id}/versions/{version}/package",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **problems(401, 403, 404, 409, 422, 503)},
)
async def read_public_package(_: MirrorCaller, feed: Feed, plugin_id: Name, version: Name) -> Response:
    """The package of a version that is offered to everyone."""
    return Response(await feed.package(plugin_id, version), media_type=MEDIA_TYPE)
