"""The exchange of a key for a token: client credentials (RFC 6749, section 4.4)."""

import base64
import time
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote_plus

from fastapi import Request

from services.common.auth import SERVICE_ACCOUNT_KEY, Caller, Right
from services.common.errors import BadRequest, TooLarge, Unauthenticated
from services.registry.service_accounts.keys import TOKEN_SECONDS, TokenSigner, scope_of
from services.registry.service_accounts.schemas import TokenDocument
from services.registry.service_accounts.service import ServiceAccountService

MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_BODY = 4 * 1024
GRANT = "client_credentials"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What was asked for. ``client_id`` None: the key alone says whose it is."""

    client_id: str | None
    key: str
    scope: str | None


class TokenExchange:
    """Gives tokens for keys."""

    def __init__(self, accounts: ServiceAccountService, signer: TokenSigner) -> None:
        self._accounts = accounts
        self._signer = signer

    async def token(self, asked: TokenRequest) -> TokenDocument:
        """Raises Unauthenticated (``invalid_client``) or BadRequest (``invalid_scope``)."""
        if not asked.key.startswith(SERVICE_ACCOUNT_KEY):
            raise _unknown_client("The secret is no key of a service account.")
        try:
            caller = await self._accounts.authenticate(asked.key)
        except Unauthenticated as error:
            raise _unknown_client(error.detail) from None
        if asked.client_id not in (None, caller.service_account):
            raise _unknown_client("The key is of another service account.")
        caller = _narrowed(caller, asked.scope)
        left = TOKEN_SECONDS if caller.expires_at is None else int(caller.expires_at - time.time())
        return TokenDocument(
            access_token=self._signer.sign(caller),
            expires_in=max(0, min(TOKEN_SECONDS, left)),
            scope=scope_of(caller.rights),
        )


async def read_request(request: Request) -> TokenRequest:
    """Read a token request. Raises BadRequest, Unauthenticated or TooLarge, with OAuth's own ``error``."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise _bad("invalid_request", f"Send the request as {MEDIA_TYPE}.")
    body = await request.body()
    if len(body) > MAX_BODY:
        raise TooLarge(f"The body is larger than {MAX_BODY} bytes.")
    try:
        fields = parse_qs(body.decode(), strict_parsing=bool(body), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        raise _bad("invalid_request", "The form cannot be read.") from None
    if any(len(values) > 1 for values in fields.values()):
        raise _bad("invalid_request", "A parameter was sent twice.")
    sent = {name: values[0] for name, values in fields.items()}
    if sent.get("grant_type") != GRANT:
        raise _bad("unsupported_grant_type", f"grant_type must be {GRANT}.")
    basic = _basic(request.headers.get("Authorization"))
    if basic is not None and "client_secret" in sent:
        raise _bad("invalid_request", "Send the key in one way only.")
    client_id, key = basic or (sent.get("client_id"), sent.get("client_secret", ""))
    return TokenRequest(client_id, key, sent.get("scope"))


def _basic(header: str | None) -> tuple[str, str] | None:
    """User and password of HTTP Basic, form-encoded as RFC 6749, section 2.3.1, has them."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # binascii's and Unicode's errors are ValueErrors
        raise _unknown_client("The credentials of HTTP Basic cannot be read.") from None
    if not colon:
        raise _unknown_client("The credentials of HTTP Basic cannot be read.")
    return unquote_plus(user), unquote_plus(password)


def _narrowed(caller: Caller, scope: str | None) -> Caller:
    if scope is None:
        return caller
    asked = set(scope.split(" "))
    if not asked <= {right.value for right in caller.rights}:
        raise _bad("invalid_scope", f"The service account has these rights: {scope_of(caller.rights)}.")
    return replace(caller, rights=frozenset(Right(name) for name in asked))


def _bad(error: str, detail: str) -> BadRequest:
    return BadRequest(detail, code=error, error=error)


def _unknown_client(detail: str) -> Unauthenticated:
    return Unauthenticated(
        detail,
        code="invalid_client",
        remedy="Send the key of a service account as client_secret.",
        headers={"WWW-Authenticate": 'Basic realm="outlet"'},
        error="invalid_client",
    )
