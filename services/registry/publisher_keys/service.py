"""Registering and revoking the keys that publishers sign with, and telling by which of them a package is signed."""

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet import signing
from outlet.signing import HEADER, PublicKey, SignatureError, Statement
from services.common.auth import Caller
from services.common.errors import Conflict, NotFound, Unprocessable
from services.common.provenance import Provenance
from services.registry.audit.trail import record
from services.registry.database import Transaction
from services.registry.publisher_keys.repository import PublisherKeyRepository
from services.registry.publisher_keys.schemas import KeyRequest, PublisherKeyDocument

log = structlog.get_logger(__name__)

MOST_KEYS = 100
SIGN = "Sign with `outlet publish`, by a key that `outlet keys register` has made known."


class PublisherKeyService:
    """The keys of the caller's own organization."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def register(self, caller: Caller, wanted: KeyRequest) -> tuple[PublisherKeyDocument, bool]:
        """Make a key known; False when it was before. Raises Unprocessable (``invalid_key``) or Conflict."""
        try:
            key = PublicKey.read(wanted.public_key)
        except SignatureError as error:
            raise Unprocessable(
                f"The key cannot be registered: {error}.",
                code="invalid_key",
                remedy="Make one with `outlet keys new`, and register it with `outlet keys register`.",
            ) from error
        async with self._transaction() as session:
            keys = PublisherKeyRepository(session)
            if len(await keys.of(caller.organization)) >= MOST_KEYS:
                raise Conflict(f"An organization has at most {MOST_KEYS} keys.", code="too_many_keys")
            new = await keys.add(caller, wanted.name, key)
            found = await keys.lock(caller.organization, key.id)
            if found is None or found.revoked_at is not None:
                raise _revoked(key.id)
            if new:
                about, after = {"keyId": key.id}, {"name": wanted.name}
                await record(session, caller.organization, caller, "publisher-key.register", about, after=after)
        log.info("publisher key registered", organization=caller.organization, key=key.id, new=new)
        return PublisherKeyDocument.model_validate(found), new

    async def revoke(self, caller: Caller, key_id: str) -> PublisherKeyDocument:
        """Let a key sign nothing new, for good. Raises NotFound (``publisher_key_not_found``)."""
        async with self._transaction() as session:
            keys = PublisherKeyRepository(session)
            found = await keys.lock(caller.organization, key_id, change=True)
            if found is None:
                raise NotFound("The organization has no such key.", code="publisher_key_not_found")
            if found.revoked_at is None:
                await keys.revoke(found, caller.subject)
                await record(session, caller.organization, caller, "publisher-key.revoke", {"keyId": key_id})
        log.info("publisher key revoked", organization=caller.organization, key=key_id)
        return PublisherKeyDocument.model_validate(found)

    async def listed(self, caller: Caller) -> list[PublisherKeyDocument]:
        """All keys of the caller's organization."""
        async with self._transaction() as session:
            found = await PublisherKeyRepository(session).of(caller.organization)
        return [PublisherKeyDocument.model_validate(key) for key in found]


async def prove(session: AsyncSession, organization: str, signature: str | None, statement: Statement) -> Provenance:
    """By which key of ``organization`` a package is signed.

    Raises Unprocessable (``signature_missing``, ``signature_invalid``, ``publisher_key_unknown``,
    ``publisher_key_revoked``).
    """
    if signature is None:
        raise Unprocessable(f"The package is not signed: {HEADER} is missing.", code="signature_missing", remedy=SIGN)
    try:
        key_id = signing.named_key(signature)
        key = await PublisherKeyRepository(session).lock(organization, key_id)
        if key is None:
            raise Unprocessable(
                f"The package is signed by a key that this organization has not registered: {key_id!r}.",
                code="publisher_key_unknown",
                remedy="Register the key with `outlet keys register`, as a publisher of this organization.",
            )
        if key.revoked_at is not None:
            raise _revoked(key_id)
        provenance = Provenance(signature=signature, public_key=PublicKey.read(key.public_key))
        signing.verify(signature, provenance.public_key, statement)
    except SignatureError as error:
        raise Unprocessable(f"The signature was refused: {error}.", code="signature_invalid", remedy=SIGN) from error
    return provenance


def _revoked(key_id: str) -> Unprocessable:
    return Unprocessable(
        f"The key {key_id!r} was revoked; it signs nothing new.",
        code="publisher_key_revoked",
        remedy="Make another with `outlet keys new`, register it, and sign with that one.",
    )
