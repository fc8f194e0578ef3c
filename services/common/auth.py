"""Who is calling: JSON Web Tokens (RFC 7519) verified against a JWKS, with asymmetric algorithms only.

Every service verifies for itself; no header set by another service is believed.
"""

import base64
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx
from fastapi import Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from services.common.errors import Forbidden, Unauthenticated, Unavailable
from services.common.settings import IdentitySettings, TrustedIssuer

ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"]
CLOCK_LEEWAY_SECONDS = 30
REFRESH_AT_MOST_EVERY_SECONDS = 10.0
SERVICE_ACCOUNT_KEY = "outlet_sa_"
"""What the key of a service account begins with."""
SERVICE_SUBJECT = "service-account:"
"""What the ``sub`` of a service account's token begins with; the rest is its id."""


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
    SERVICE = "service"
    """A service account: it is in no set of roles, and may do what names one of its rights (:func:`require`)."""


class Right(StrEnum):
    """What a service account may be allowed to do."""

    PUBLISH = "publish"
    INSTALL = "install"
    READ = "read"


MANAGES = frozenset({Role.OWNER, Role.ADMIN})
SEES = MANAGES | {Role.MANAGER}
USES = SEES | {Role.CASHIER}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, as the gateway saw it; no decision rests on it."""

    address: str | None = None
    user_agent: str | None = None


CLIENT_ADDRESS_HEADER = "X-Outlet-Client-Address"
"""Set by the gateway, which lets no client's through. Whoever reaches a service past the gateway can make one up."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a verified token says. ``store`` is None for a token that is valid in the whole organization.

    ``expires_at`` is in seconds of Unix time, for whoever relies on the token for longer than one request.
    ``service_account`` is the id of the account that a program speaks for, ``rights`` what that one may do.
    """

    subject: str
    organization: str
    store: str | None
    role: Role
    expires_at: float | None = field(default=None, compare=False)
    service_account: str | None = None
    rights: frozenset[Right] = frozenset()
    origin: Origin = field(default=Origin(), compare=False)

    def choose_store(self, asked: str | None) -> str | None:
        """The store a request is about: the token's own, or the one asked for. Raises Forbidden for another's."""
        if self.store is not None and asked not in (None, self.store):
            raise Forbidden(f"This token is bound to store {self.store!r}.", code="wrong_store")
        return self.store or asked


class Verifier(Protocol):
    """Tells who a bearer token speaks for."""

    async def verify(self, token: str) -> Caller:
        """Raises Unauthenticated, or Unavailable when it cannot be told."""
        ...


class TokenVerifier:
    """Verifies bearer tokens of the issuers that are trusted, each with its own key set and the roles it may give."""

    def __init__(self, settings: IdentitySettings, *further: TrustedIssuer) -> None:
        trusted = [*settings.trusted_issuers(), *further]
        self._issuers = {issuer.name: _Issuer(issuer, settings.jwt_audience) for issuer in trusted}

    async def verify(self, token: str) -> Caller:
        """The caller a compact JWS speaks for. Raises Unauthenticated, or Unavailable when no keys can be read.

        The issuer that a token names only says which keys must have signed it; one that is not trusted is not asked.
        """
        issuer = self._issuers.get(_claimed_issuer(token))
        if issuer is None:
            raise _refused("The token was refused: it names no issuer that is trusted.")
        return await issuer.verify(token)


def _claimed_issuer(token: str) -> str:
    """The ``iss`` that an unverified token claims; empty when it cannot be read."""
    part = token.split(".", 2)[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):  # binascii's and json's errors are ValueErrors
        return ""
    name = claims.get("iss") if isinstance(claims, dict) else None
    return name if isinstance(name, str) else ""


class _Issuer:
    """One issuer; its key set is read again when a token names a key that it does not have."""

    def __init__(self, issuer: TrustedIssuer, audience: str) -> None:
        self._location = issuer.jwks
        self._keys: KeySet | None = None
        self._read_at = float("-inf")
        roles = [role.value for role in Role if (role is Role.SERVICE) == issuer.service_accounts]
        self._claims = jwt.JWTClaimsRegistry(
            leeway=CLOCK_LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer.name},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
            org={"essential": True},
            role={"essential": True, "values": roles},
        )

    async def verify(self, token: str) -> Caller:
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
        caller = Caller(claims["sub"], claims["org"], store, Role(claims["role"]), float(claims["exp"]))
        if caller.role is not Role.SERVICE:
            return caller
        return replace(
            caller, service_account=caller.subject.removeprefix(SERVICE_SUBJECT), rights=_rights(claims.get("scope"))
        )

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
        if isinstance(self._location, Mapping):
            return self._location
        if not self._location.startswith(("http://", "https://")):
            return json.loads(await anyio.Path(Path(self._location)).read_text())
        async with httpx.AsyncClient(timeout=5) as client:
            response = await client.get(self._location)
        return response.raise_for_status().json()


def _rights(scope: object) -> frozenset[Right]:
    """The rights in a scope (RFC 6749, section 3.3); names of others are left out."""
    return frozenset(right for right in Right if isinstance(scope, str) and right.value in scope.split(" "))


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def require(
    roles: frozenset[Role] = USES, *, right: Right | None = None
) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """A FastAPI dependency: the verified caller, with one of ``roles``, or a service account that has ``right``.

    Without a ``right`` no service account passes, whatever it may do elsewhere. The app's lifespan puts its
    :class:`Verifier` into ``app.state.verifier``.
    """

    async def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The request has no bearer token.", headers={"WWW-Authenticate": "Bearer"})
        verifier: Verifier = request.app.state.verifier
        found = await verifier.verify(token.strip())
        if found.role not in roles and (right is None or right not in found.rights):
            allowed = f"it takes one of {sorted(roles)}" + (f", or the right {right.value!r}" if right else "")
            raise Forbidden(f"The role {found.role.value!r} may not do this; {allowed}.")
        headers = request.headers
        return replace(found, origin=Origin(headers.get(CLIENT_ADDRESS_HEADER), headers.get("User-Agent")))

    return caller
