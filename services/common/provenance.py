"""Where a package comes from: the signature of its publisher, and the key it is by, as an installation carries them."""

import msgspec

from outlet import signing
from outlet.package import digest_of
from outlet.signing import PublicKey, SignatureError, Statement


class Provenance(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A compact JWS over the statement of a package, and the publisher's public key."""

    signature: str
    public_key: PublicKey


def check_package(data: bytes, provenance: Provenance | None, expected: Statement) -> None:
    """Make sure that these bytes are what the publisher signed as this plugin and version.

    Raises :class:`outlet.signing.SignatureError`.
    """
    if digest_of(data) != expected.digest:
        raise SignatureError(f"the bytes have the digest {digest_of(data)}, not {expected.digest}")
    if provenance is None:
        raise SignatureError("the version has no signature of its publisher")
    signing.verify(provenance.signature, provenance.public_key, expected)
