"""Signatures of packages: a compact JWS (RFC 7515) by a publisher's Ed25519 key over a statement of what is signed.

The one way for all who sign and verify: the `outlet` command, the registry and the workers.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlet.package import Package, open_package

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
"""The fully specified name (RFC 9864), and the only algorithm that is taken."""
TYPE: Final = "outlet-package+jws"
HEADER: Final = "X-Outlet-Signature"
"""The header of a publication that carries the signature."""
MAX_LENGTH: Final = 2_048
KEY_BYTES: Final = 32


class SignatureError(ValueError):
    """A signature that proves nothing, or a key that is none; the message says why."""


class Statement(msgspec.Struct, rename="camel", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a publisher signs: that this plugin, in this version, is the package with this digest."""

    plugin_id: str
    version: str
    digest: str

    @classmethod
    def of(cls, package: Package) -> "Statement":
        manifest = package.manifest
        return cls(plugin_id=manifest.plugin_id, version=manifest.version, digest=package.digest)


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of a signature's header: nothing else is taken (no ``jwk``, no ``crit``, no ``b64``)."""

    alg: str
    kid: str
    typ: str


class PublicKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Ed25519 public key as a JWK (RFC 8037); ``x`` is the key in base64url."""

    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "PublicKey":
        """The key in a JWK; members that say nothing of the key itself are left. Raises :class:`SignatureError`."""
        if "d" in document:
            raise SignatureError("this is a private key: it must never leave its owner's machine; send x alone")
        if document.get("kty") != "OKP" or document.get("crv") != "Ed25519" or not isinstance(document.get("x"), str):
            raise SignatureError("the key must be a JWK with kty OKP, crv Ed25519 and x (RFC 8037)")
        try:
            raw = _decode(document["x"])
        except ValueError as error:
            raise SignatureError(f"x is not base64url: {error}") from error
        if len(raw) != KEY_BYTES:
            raise SignatureError(f"x has {len(raw)} bytes, an Ed25519 key has {KEY_BYTES}")
        return cls(base64.urlsafe_b64encode(raw).decode().rstrip("="))

    @property
    def id(self) -> str:
        """The JWK thumbprint (RFC 7638) of the key."""
        return self._key().thumbprint()

    def document(self) -> dict[str, str]:
        """The JWK."""
        return {"kty": self.kty, "crv": self.crv, "x": self.x}

    def _key(self) -> "OKPKey":
        from joserfc.jwk import OKPKey

        return OKPKey.import_key({**self.document()})


def new_key() -> "OKPKey":
    """A new key pair."""
    from joserfc.jwk import OKPKey

    return OKPKey.generate_key("Ed25519", auto_kid=False)


def public_part(key: "OKPKey") -> PublicKey:
    """What others may know of a key."""
    return PublicKey.read(key.as_dict(private=False))


def sign(statement: Statement, key: "OKPKey") -> str:
    """The statement with its signature, as a compact JWS."""
    from joserfc import jws

    header = {"alg": ALGORITHM, "kid": public_part(key).id, "typ": TYPE}
    payload = msgspec.json.encode(statement, order="deterministic")
    return jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM])


def named_key(signature: str) -> str:
    """The id of the key that a signature claims to be by: nothing is proved yet. Raises :class:`SignatureError`."""
    if len(signature) > MAX_LENGTH:
        raise SignatureError(f"the signature has {len(signature)} characters; at most {MAX_LENGTH} are taken")
    parts = signature.split(".")
    if len(parts) != 3:
        raise SignatureError("the signature is no compact JWS: header.payload.signature")
    try:
        header = msgspec.convert(_object(_decode(parts[0])), _Header)
    except ValueError as error:
        raise SignatureError(f"the signature's header must be alg, kid and typ: {error}") from error
    if header.alg != ALGORITHM:
        raise SignatureError(f"the signature's alg is {header.alg!r}; only {ALGORITHM} is taken")
    if header.typ != TYPE:
        raise SignatureError(f"the signature's typ is {header.typ!r}, not {TYPE}")
    return header.kid


def verify(signature: str, key: PublicKey, expected: Statement) -> None:
    """Make sure that the holder of ``key`` has signed exactly this statement. Raises :class:`SignatureError`."""
    from joserfc import jws
    from joserfc.errors import JoseError

    if named_key(signature) != key.id:
        raise SignatureError("the signature names another key")
    try:
        payload = jws.deserialize_compact(signature, key._key(), algorithms=[ALGORITHM]).payload
    except (JoseError, ValueError) as error:
        raise SignatureError(f"the signature is not by the key that it names: {error}") from error
    try:
        stated = msgspec.convert(_object(payload), Statement)
    except ValueError as error:
        raise SignatureError(f"what was signed is no statement about a package: {error}") from error
    for name in ("plugin_id", "version", "digest"):
        said, wanted = getattr(stated, name), getattr(expected, name)
        if said != wanted:
            raise SignatureError(f"what was signed is about another package: {name} is {said!r}, not {wanted!r}")


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object in which no name comes twice, so that all who read it read the same."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    found = json.loads(data, object_pairs_hook=once)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  of the data, as everything that is wrong with it
    return found


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def sign_package(data: bytes, key: "OKPKey") -> str:
    """The signature of a package. Raises :class:`outlet.package.PackageError` when it is none."""
    return sign(Statement.of(open_package(data)), key)
