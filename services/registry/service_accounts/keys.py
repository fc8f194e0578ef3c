"""The keys of service accounts, and the tokens that they are exchanged for."""

import hashlib
import secrets
import time
import uuid
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from services.common.auth import SERVICE_ACCOUNT_KEY, SERVICE_SUBJECT, Caller, Right, Role
from services.common.secret_settings import SecretKeys
from services.common.settings import SERVICE_ACCOUNT_ISSUER

ALGORITHM = "Ed25519"
PURPOSE = b"outlet: tokens of service accounts, Ed25519"
TOKEN_SECONDS = 600


def new_key() -> str:
    """A key with 256 random bits. Scanners for leaked secrets find it by ``outlet_sa_[0-9a-f]{64}``."""
    return SERVICE_ACCOUNT_KEY + secrets.token_hex(32)


def hash_of(key: str) -> bytes:
    """As it is kept. A random key of this length needs no slow hash."""
    return hashlib.sha256(key.encode()).digest()


class TokenSigner:
    """Signs tokens with keys derived from the operator's: registries that share those agree, and rotate alike."""

    def __init__(self, keys: SecretKeys, audience: str) -> None:
        self._keys = [_signing_key(seed) for seed in keys.derived(PURPOSE)]
        self._audience = audience

    def public(self) -> dict[str, Any]:
        """The JWKS (RFC 7517) that verifies the tokens of the present key and of former ones."""
        return dict(KeySet(list(self._keys)).as_dict(private=False))

    def sign(self, caller: Caller) -> str:
        """A token for a service account, of ten minutes or until the account expires, whichever is less."""
        now = int(time.time())
        expires = now + TOKEN_SECONDS if caller.expires_at is None else min(now + TOKEN_SECONDS, int(caller.expires_at))
        claims: dict[str, str | int] = {
            "iss": SERVICE_ACCOUNT_ISSUER,
            "aud": self._audience,
            "sub": f"{SERVICE_SUBJECT}{caller.service_account}",
            "iat": now,
            "exp": expires,
            "jti": uuid.uuid4().hex,
            "org": caller.organization,
            "role": Role.SERVICE.value,
            "scope": scope_of(caller.rights),
            **({} if caller.store is None else {"store": caller.store}),
        }
        key = self._keys[0]
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def scope_of(rights: frozenset[Right]) -> str:
    """Rights as RFC 6749 writes a scope."""
    return " ".join(sorted(right.value for right in rights))


def _signing_key(seed: bytes) -> OKPKey:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"kty": "OKP", "crv": "Ed25519", "x": _base64(public), "d": _base64(seed)}
    key_id = hashlib.sha256(public).hexdigest()[:16]
    return OKPKey.import_key({**members, "use": "sig", "alg": ALGORITHM, "kid": key_id})


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
