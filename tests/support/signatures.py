"""Packages as their publisher signed them, for installations that no registry announced."""

from joserfc.jwk import OKPKey

from outlet.signing import Statement, new_key, public_part, sign
from services.common.provenance import Provenance


def provenance(statement: Statement, key: OKPKey | None = None) -> Provenance:
    """The signature of a statement, by a key of its own unless told."""
    key = key or new_key()
    return Provenance(signature=sign(statement, key), public_key=public_part(key))
