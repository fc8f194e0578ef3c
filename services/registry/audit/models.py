"""The tables of the audit log. Triggers of the database (migration 0008) let entries be added, and nothing else."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Computed, Index, LargeBinary, Text
from sqlmodel import Field

from services.registry.models import RegistryModel


def _member(expression: str) -> Any:
    return Column(Text, Computed(expression, persisted=True))


class AuditEntry(RegistryModel, table=True):
    """One entry of an organization's chain. ``document`` is the very text that was hashed.

    What entries are filtered by is read out of it by the database, so it cannot say anything else.
    """

    __tablename__ = "audit_entry"
    __table_args__: ClassVar[Any] = (
        Index("audit_entry_action", "organization_id", "action", "sequence"),
        Index("audit_entry_plugin", "organization_id", "plugin_id", "sequence"),
    )

    organization_id: str = Field(primary_key=True)
    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    document: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=LargeBinary)
    action: str | None = Field(default=None, sa_column=_member("(document::jsonb ->> 'action'::text)"))
    at: str | None = Field(default=None, sa_column=_member("(document::jsonb ->> 'at'::text)"))
    actor: str | None = Field(default=None, sa_column=_member("((document::jsonb -> 'by'::text) ->> 'subject'::text)"))
    plugin_id: str | None = Field(
        default=None, sa_column=_member("((document::jsonb -> 'about'::text) ->> 'pluginId'::text)")
    )
    installation_id: str | None = Field(
        default=None, sa_column=_member("((document::jsonb -> 'about'::text) ->> 'installationId'::text)")
    )


class AuditHead(RegistryModel, table=True):
    """Where an organization's chain ends. Whoever adds an entry locks it first, so there is one chain."""

    __tablename__ = "audit_head"

    organization_id: str = Field(primary_key=True)
    sequence: int = Field(default=0, sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)
