"""HTTP routes of the catalogue."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, status

from outlet.manifest import Category
from outlet.package import MEDIA_TYPE
from outlet.signing import HEADER, MAX_LENGTH
from services.common.auth import SEES, Caller, Role, require
from services.common.errors import OutletError
from services.common.wire import BEARER, MAX_PAGE, Line, Page, problems
from services.registry.catalogue.levels import Level
from services.registry.catalogue.repository import CatalogueFilter
from services.registry.catalogue.schemas import CatalogueEntry, PublishedVersion
from services.registry.catalogue.service import CatalogueService

DIGEST = r"^sha256:[0-9a-f]{64}$"

router = APIRouter(tags=["marketplace"], dependencies=[BEARER])
internal = APIRouter(tags=["internal"])


class UnsupportedMediaType(OutletError):
    """The body is of a kind that the route does not take."""

    status = 415
    code = "unsupported_media_type"
    remedy = f"Send a package with Content-Type: {MEDIA_TYPE}."


def _catalogue(request: Request) -> CatalogueService:
    service: CatalogueService = request.app.state.catalogue
    return service


Catalogue = Annotated[CatalogueService, Depends(_catalogue)]


@router.get("/api/plugins/marketplace", responses=problems(400, 401, 403, 422))
async def list_marketplace(
    caller: Annotated[Caller, Depends(require(SEES | {Role.PUBLISHER, Role.REVIEWER}))],
    catalogue: Catalogue,
    search: Annotated[Line | None, Query(description="Text in id, name, description, author or tags.")] = None,
    category: Category | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> Page[CatalogueEntry]:
    """The latest version of every plugin that can be installed."""
    return await catalogue.search(CatalogueFilter(caller.organization, search=search, category=category), limit, cursor)


@router.post(
    "/api/plugins/marketplace",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": PublishedVersion, "description": "This very package was published before."},
        **problems(401, 403, 409, 413, 415, 422),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def publish_version(
    caller: Annotated[Caller, Depends(require(frozenset({Role.PUBLISHER})))],
    catalogue: Catalogue,
    request: Request,
    response: Response,
    signature: Annotated[
        str | None,
        Header(
            alias=HEADER,
            max_length=MAX_LENGTH,
            description="A compact JWS by a registered key over {pluginId, version, digest}.",
        ),
    ] = None,
    level: Annotated[
        Literal[Level.PRIVATE, Level.COMMUNITY],
        Query(description="For the publisher's own organization, or for everyone once it was checked and reviewed."),
    ] = Level.PRIVATE,
) -> PublishedVersion:
    """Publish a signed package. Versions never change; the same package again is harmless, and can be submitted."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise UnsupportedMediaType("The body is not announced as a package.")
    published, new = await catalogue.publish(caller, await request.body(), signature, level)
    if not new:
        response.status_code = status.HTTP_200_OK
    return published


@internal.get(
    "/internal/packages/{digest}",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **problems(404, 409, 422, 503)},
)
async def read_package(digest: Annotated[str, Path(pattern=DIGEST)], catalogue: Catalogue) -> Response:
    """The bytes of a package, for workers, which have no token: the gateway does not pass this path on.

    They are named by their digest, so they can be kept for ever.
    """
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(await catalogue.package(digest), media_type=MEDIA_TYPE, headers=headers)
