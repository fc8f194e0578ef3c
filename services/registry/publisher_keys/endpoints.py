"""HTTP routes of publishers' keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from services.common.auth import Caller, Role, require
from services.common.wire import BEARER, problems
from services.registry.publisher_keys.schemas import KeyRequest, PublisherKeyDocument, PublisherKeys
from services.registry.publisher_keys.service import PublisherKeyService

router = APIRouter(prefix="/api/plugins/publisher-keys", tags=["publisher keys"], dependencies=[BEARER])


def _keys(request: Request) -> PublisherKeyService:
    service: PublisherKeyService = request.app.state.publisher_keys
    return service


Keys = Annotated[PublisherKeyService, Depends(_keys)]
Publisher = Annotated[Caller, Depends(require(frozenset({Role.PUBLISHER})))]


@router.get("", responses=problems(401, 403))
async def list_keys(caller: Publisher, keys: Keys) -> PublisherKeys:
    """The keys of the caller's organization, revoked ones included."""
    return PublisherKeys(items=await keys.listed(caller))


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": PublisherKeyDocument, "description": "It was registered before."},
        **problems(401, 403, 409, 422),
    },
)
async def register_key(caller: Publisher, keys: Keys, wanted: KeyRequest, response: Response) -> PublisherKeyDocument:
    """Make a public key known: packages that its holder signs can be published from now on."""
    registered, new = await keys.register(caller, wanted)
    if not new:
        response.status_code = status.HTTP_200_OK
    return registered


@router.delete("/{key_id}", responses=problems(401, 403, 404, 422))
async def revoke_key(caller: Publisher, keys: Keys, key_id: str) -> PublisherKeyDocument:
    """Let a key sign nothing new, for good. What it signed before stays as it is: versions are revoked one by one."""
    return await keys.revoke(caller, key_id)
