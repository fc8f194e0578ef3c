"""The development issuer: signs tokens for `outlet token`, the demo and tests. Production trusts an issuer of its own.

``<directory>/private.json`` holds the private key (JWK, only its owner may read it), ``<directory>/jwks.json`` the key
set the services verify against.
"""

import json
import os
import time
import uuid
from datetime import timedelta
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from outlet.local.errors import PlatformError
from outlet.local.roles import Role

__all__ = ["AUDIENCE", "NAME", "Issuer", "Role"]

NAME = "outlet-development"
AUDIENCE = "outlet"
ALGORITHM = "Ed25519"  # the fully specified name (RFC 9864); EdDSA is deprecated
LIFETIME = timedelta(hours=1)


class Issuer:
    """A key pair in a directory. Make one with `create` or read it with `open`."""

    def __init__(self, directory: Path, key: OKPKey) -> None:
        self.jwks_path = directory / "jwks.json"
        self._key = key

    @classmethod
    def create(cls, directory: Path) -> "Issuer":
        """The issuer of this directory, made if there is none yet."""
        private = directory / "private.json"
        if not private.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
            _write(directory / "jwks.json", json.dumps(KeySet([key]).as_dict(private=False)), 0o644)
            _write(private, json.dumps(key.as_dict(private=True)), 0o600)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> "Issuer":
        """The issuer of this directory. Raises PlatformError if there is none, or it cannot be read."""
        try:
            key = OKPKey.import_key(json.loads((directory / "private.json").read_text()))
        except FileNotFoundError as error:
            raise PlatformError(
                f"there is no development issuer in {directory}",
                "Start the platform first (outlet up), or name its folder with --directory.",
            ) from error
        except PermissionError as error:
            raise PlatformError(
                f"the development issuer in {directory} belongs to another user", "Run as the user who started it."
            ) from error
        return cls(directory, key)

    def token(
        self,
        role: Role,
        organization: str,
        *,
        store: str | None = None,
        subject: str | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> str:
        """A signed token. ``store`` None: valid in the whole organization. A negative lifetime gives an expired one."""
        now = int(time.time())
        claims: dict[str, str | int] = {
            "iss": NAME,
            "aud": AUDIENCE,
            "sub": subject or f"{role}@{organization}",
            "iat": now,
            "exp": now + int(lifetime.total_seconds()),
            "jti": uuid.uuid4().hex,
            "org": organization,
            "role": role,
        }
        if store is not None:
            claims["store"] = store
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[ALGORITHM])


def _write(path: Path, text: str, mode: int) -> None:
    """Put a file in place whole and with its final permissions, so that no reader sees half of it."""
    staging = path.with_suffix(".new")
    staging.unlink(missing_ok=True)
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    staging.replace(path)
