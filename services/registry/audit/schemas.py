"""Documents of the audit log."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from services.common.wire import Document
from services.registry.audit.chain import decode
from services.registry.audit.models import AuditEntry


class ActorDocument(Document):
    """Who did it."""

    subject: str
    role: str
    service_account: str | None = Field(default=None, description="The id of the account that a program spoke for.")


class OriginDocument(Document):
    """From where, as the gateway saw it."""

    address: str | None
    user_agent: str | None


class AuditEntryDocument(Document):
    """One entry. Of ``before`` and ``after``, members that did not change are left out, and secrets are masked."""

    sequence: int
    at: datetime
    action: str
    outcome: Literal["done", "begun", "failed", "undone"]
    by: ActorDocument
    origin: OriginDocument
    about: dict[str, Any] = Field(description="What it was done to: pluginId, installationId, storeId, ...")
    before: dict[str, Any]
    after: dict[str, Any]
    hash: str = Field(description="SHA-256, in hexadecimal, of the hash before it and of the entry's canonical JSON.")

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """The document of an entry that is kept."""
        read = decode(entry.document)
        members = {name: getattr(read, name) for name in cls.model_fields if name != "hash"}
        return cls.model_validate(members | {"hash": entry.hash.hex()})


class VerificationDocument(Document):
    """What came of going along the whole chain."""

    valid: bool
    entries: int = Field(description="How many were found as they should be, from the beginning.")
    head: str = Field(description="The hash of the last of them; keep it elsewhere, and later chains must contain it.")
    broken: dict[str, Any] | None = Field(
        default=None, description="The first fault: `sequence` of the entry, and the `reason`."
    )
