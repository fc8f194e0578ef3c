"""HTTP routes of service accounts."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status

from services.common.auth import MANAGES, SEES, Caller, Role, require
from services.common.errors import NotFound
from services.common.wire import BEARER, MAX_PAGE, Page, problems
from services.registry.service_accounts.exchange import MEDIA_TYPE, TokenExchange, read_request
from services.registry.service_accounts.keys import TokenSigner
from services.registry.service_accounts.schemas import (
    NewServiceAccount,
    ServiceAccountDocument,
    ServiceAccountRequest,
    TokenDocument,
)
from services.registry.service_accounts.service import ServiceAccountService

PATH = "/api/plugins/service-accounts"

router = APIRouter(prefix=PATH, tags=["service accounts"], dependencies=[BEARER])
public = APIRouter(prefix=PATH, tags=["service accounts"])
internal = APIRouter(tags=["internal"])


def _service(request: Request) -> ServiceAccountService:
    service: ServiceAccountService = request.app.state.service_accounts
    return service


def _id(account_id: str) -> UUID:
    try:
        return UUID(account_id)
    except ValueError:
        raise NotFound("There is no such service account.", code="service_account_not_found") from None


Maker = Annotated[Caller, Depends(require(MANAGES | {Role.PUBLISHER}))]
Seer = Annotated[Caller, Depends(require(SEES | {Role.PUBLISHER}))]
Service = Annotated[ServiceAccountService, Depends(_service)]


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(401, 403, 409, 422))
async def create(
    caller: Maker, service: Service, wanted: ServiceAccountRequest, response: Response
) -> NewServiceAccount:
    """Make a service account; its key is shown this once."""
    response.headers["Cache-Control"] = "no-store"
    return await service.create(caller, wanted)


@router.get("", responses=problems(400, 401, 403, 422))
async def list_accounts(
    caller: Seer, service: Service, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50, cursor: str | None = None
) -> Page[ServiceAccountDocument]:
    """The service accounts of the caller's organization, oldest first, revoked and expired ones too."""
    return await service.find(caller, limit, cursor)


@router.delete("/{account_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(401, 403, 404, 422))
async def revoke(caller: Maker, service: Service, account_id: Annotated[UUID, Depends(_id)]) -> None:
    """End a service account. The registry refuses it at once, other services within ten minutes."""
    await service.revoke(caller, account_id)


@public.post(
    "/token",
    responses=problems(400, 401, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                MEDIA_TYPE: {
                    "schema": {
                        "type": "object",
                        "required": ["grant_type"],
                        "properties": {
                            "grant_type": {"const": "client_credentials"},
                            "client_id": {"type": "string", "description": "The account's id."},
                            "client_secret": {"type": "string", "description": "Its key."},
                            "scope": {"type": "string", "description": "Some of its rights; without it, all of them."},
                        },
                    }
                }
            },
        }
    },
)
async def exchange_token(request: Request, response: Response) -> TokenDocument:
    """A token of ten minutes for a service account (RFC 6749, section 4.4), which every service takes.

    The key is sent as ``client_secret``, or as the password of HTTP Basic, whose user is the account's id.
    """
    exchange: TokenExchange = request.app.state.token_exchange
    response.headers["Cache-Control"] = "no-store"
    return await exchange.token(await read_request(request))


@internal.get("/internal/service-accounts/jwks")
async def read_keys(request: Request) -> dict[str, Any]:
    """The keys (RFC 7517) that sign service accounts' tokens, for other services: the gateway does not pass it on."""
    signer: TokenSigner = request.app.state.token_signer
    return signer.public()
