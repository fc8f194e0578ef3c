"""Writing the audit log: :func:`record` puts an entry into the transaction of the change that it tells of.

Either both are kept or neither is. The end of the organization's chain is locked from here until the transaction
ends, so record last, after every other lock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.registry.audit.chain import Entry, encode, link, shown_text
from services.registry.audit.models import AuditEntry
from services.registry.audit.repository import AuditRepository

Outcome = Literal["done", "begun", "failed", "undone"]
"""``begun``: a plugin's hook is to run; one of the others follows. ``undone``: no worker was reached."""

PERSONAL_DATA = frozenset({"customer:personal-data", "employee:personal-data"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and from where."""

    subject: str
    role: str
    service_account: str | None = None
    address: str | None = None
    user_agent: str | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Actor":
        return cls(
            shown_text(caller.subject),
            caller.role.value,
            caller.service_account,
            caller.origin.address and shown_text(caller.origin.address),
            caller.origin.user_agent and shown_text(caller.origin.user_agent),
        )


PLATFORM = Actor("urn:outlet:registry", "platform")
"""Who did what nobody asked for: an expiry, a decision of the platform's own."""


async def record(
    session: AsyncSession,
    organization: str,
    by: Actor | Caller,
    action: str,
    about: Mapping[str, Any],
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    outcome: Outcome = "done",
) -> None:
    """Add one entry to the organization's chain.

    ``action`` is ``noun.verb``; ``about`` names what it was done to (``pluginId``, ``installationId``, ...). Of
    ``before`` and ``after``, whose secrets are masked, members that are the same in both are left out. All of it is
    JSON without NUL.
    """
    actor = Actor.of(by) if isinstance(by, Caller) else by
    entries = AuditRepository(session)
    head = await entries.lock_head(organization)
    before, after = _difference(before or {}, after or {})
    at = (await entries.now()).astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    account = {} if actor.service_account is None else {"serviceAccount": actor.service_account}
    entry = Entry(
        organization_id=organization,
        sequence=head.sequence + 1,
        at=at,
        action=action,
        outcome=outcome,
        by={"subject": actor.subject, "role": actor.role, **account},
        origin={"address": actor.address, "userAgent": actor.user_agent},
        about=dict(about),
        before=before,
        after=after,
    )
    document = encode(entry)
    added = AuditEntry(
        organization_id=organization, sequence=entry.sequence, document=document, hash=link(head.hash, document)
    )
    await entries.add(head, added)


async def record_personal_data(
    session: AsyncSession,
    organization: str,
    by: Actor | Caller,
    about: Mapping[str, Any],
    *,
    before: Collection[str],
    after: Collection[str],
) -> None:
    """Add an entry for each grant of personal data that was given or taken; ``before`` and ``after`` are all grants."""
    for name in sorted(PERSONAL_DATA & (set(before) ^ set(after))):
        verb = "given" if name in after else "taken"
        await record(session, organization, by, f"personal-data.{verb}", {**about, "grant": name})


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    same = {name for name in before.keys() & after.keys() if _json(before[name]) == _json(after[name])}
    return (
        {name: value for name, value in before.items() if name not in same},
        {name: value for name, value in after.items() if name not in same},
    )


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")  # unlike ==, this tells true from 1
