"""Who is calling: JSON Web Tokens (RFC 7519) verified against a JWKS, with asymmetric algorithms only.

Every service verifies for itself; no header set by another service is believed.
"""

import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from services.common.errors import Forbidden, Unauthenticated, Unavailable
from services.common.settings import IdentitySettings

ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"]
CLOCK_LEEWAY_SECONDS = 30
REFRESH_AT_MOST_EVERY_SECONDS = 10.0


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MANAGER = "manager"
    CASHIER = "cashier"
    PUBLISHER = "publisher"
    REVIEWER = "reviewer"
    """Decides on plugins for the whole platform, on its operator's side."""
    MIRROR = "mirror"
    """Another registry, which reads what is offered to everyone."""


MANAGES = frozenset({Role.OWNER, Role.ADMIN})
SEES = MANAGES | {Role.MANAGER}
USES = SEES | {Role.CASHIER}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a verified token says. ``store`` is None for a token that is valid in the whole organization.

    ``expires_at`` is in seconds of Unix time, for whoever relies on the token for longer than one request.
    """

    subject: str
    organization: str
    store: str | None
    role: Role
    expires_at: float | None = field(default=None, compare=False)

    def choose_store(self, asked: str | None) -> str | None:
        """The store a request is about: the token's own, or the one asked for. Raises Forbidden for another's."""
        if self.store is not None and asked not in (None, self.store):
            raise Forbidden(f"This token is bound to store {self.store!r}.", code="wrong_store")
        return self.store or asked


class TokenVerifier:
    """Verifies bearer tokens; reads the key set again when a token names a key that it does not know."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._keys: KeySet | None = None
        self._read_at = float("-inf")
        self._claims = jwt.JWTClaimsRegistry(
            leeway=CLOCK_LEEWAY_SECONDS,
            iss={"essential": True, "value": settings.jwt_issuer},
            aud={"essential": True, "value": settings.jwt_audience},
            exp={"essential": True},
            sub={"essential": True},
            org={"essential": True},
            role={"essential": True, "values": [role.value for role in Role]},
        )

    async def verify(self, token: str) -> Caller:
        """The caller a compact JWS speaks for. Raises Unauthenticated, or Unavailable when no keys can be read."""
        keys = await self._key_set()
        try:
            return self._decode(token, keys)
        except Unauthenticated:
            fresh = await self._key_set(refresh=True)
            if fresh is keys:
                raise
            return self._decode(token, fresh)

    def _decode(self, token: str, keys: KeySet) -> Caller:
        try:
            claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
            self._claims.validate(claims)
        except (JoseError, ValueError) as error:
            raise _refused(f"The token was refused: {error}") from error
        store = claims.get("store")
        texts = [claims["sub"], claims["org"], *([] if store is None else [store])]
        if not all(isinstance(text, str) and text for text in texts):
            raise _refused("The token was refused: sub, org and store must be non-empty strings.")
        return Caller(claims["sub"], claims["org"], store, Role(claims["role"]), float(claims["exp"]))

    async def _key_set(self, *, refresh: bool = False) -> KeySet:
        too_soon = time.monotonic() - self._read_at < REFRESH_AT_MOST_EVERY_SECONDS
        if self._keys is not None and (not refresh or too_soon):
            return self._keys
        try:
            self._keys = KeySet.import_key_set(await self._read())
        except (OSError, httpx.HTTPError, ValueError, JoseError) as error:
            if self._keys is None:
                raise Unavailable(f"The key set of the token issuer cannot be read: {error}", code="no_keys") from error
        self._read_at = time.monotonic()
        return self._keys

    async def _read(self) -> Any:
        location = self._settings.jwks
        if not location.startswith(("http://", "https://")):
            return json.loads(await anyio.Path(Path(location)).read_text())
        async with httpx.AsyncClient(timeout=5) as client:
            response = await client.get(location)
        return response.raise_for_status().json()


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def require(roles: frozenset[Role] = USES) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """A FastAPI dependency: the verified caller, who must have one of ``roles``.

    The app's lifespan puts its :class:`TokenVerifier` into ``app.state.verifier``.
    """

    async def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The request has no bearer token.", headers={"WWW-Authenticate": "Bearer"})
        verifier: TokenVerifier = request.app.state.verifier
        found = await verifier.verify(token.strip())
        if found.role not in roles:
            raise Forbidden(f"The role {found.role.value!r} may not do this; it takes one of {sorted(roles)}.")
        return found

    return caller
