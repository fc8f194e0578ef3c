"""The tables of the registry: the catalogue, the installations, and what leaves through the outbox."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from services.common.outbox import outbox_table


def _moment(*, required: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=not required, server_default=func.now() if required else None)


def _now() -> datetime:
    return datetime.now(UTC)


def _counter() -> Any:
    return Column(BigInteger, nullable=False, server_default="0")


class RegistryModel(SQLModel, registry=registry()):
    """Keeps the registry's tables apart from those of other services."""


class Plugin(RegistryModel, table=True):
    """A plugin of the catalogue. Only the organization that published it first may publish further versions."""

    __tablename__ = "plugin"

    id: str = Field(primary_key=True)
    publisher_organization: str
    mirrored: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Whether it came from the upstream registry; its publisher is then an organization of that platform."""
    latest_version: str | None = None
    """Of what its publisher's organization can install: the highest release, else the highest pre-release."""
    latest_public: str | None = None
    """The same of what everyone can install."""


class PluginVersion(RegistryModel, table=True):
    """One published version: immutable, and found by its digest."""

    __tablename__ = "plugin_version"

    plugin_id: str = Field(primary_key=True, foreign_key="plugin.id")
    version: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    manifest: dict[str, Any] = Field(sa_type=JSONB)
    published_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))
    published_by: str
    signature: str | None = None
    """The publisher's, as a compact JWS over the statement; None: published before there were signatures."""
    public_key: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    """The JWK of the publisher's key as it was then."""
    level: str = Field(default="private", sa_column_kwargs={"server_default": "community"})
    """Who may install it: see :class:`services.registry.catalogue.levels.Level`."""
    yanked_at: datetime | None = Field(default=None, sa_column=_moment())
    yanked_by: str | None = None
    yank_reason: str | None = None
    revoked_at: datetime | None = Field(default=None, sa_column=_moment())
    revoked_by: str | None = None
    revocation_reason: str | None = None
    announced_revision: int = Field(default=0, sa_column=_counter())
    """Who has followed this revision knows whether it is revoked, of every installation that it had then."""


class PluginPackage(RegistryModel, table=True):
    """The bytes of a version, apart from it so that nobody loads them by accident."""

    __tablename__ = "plugin_package"

    digest: str = Field(primary_key=True, foreign_key="plugin_version.digest")
    data: bytes = Field(sa_type=LargeBinary)


class Installation(RegistryModel, table=True):
    """A plugin version installed for an organization (``store_id`` None) or for one of its stores.

    ``operation_id`` marks the lifecycle operation that is running; ``installed_at`` is None until onInstall succeeded.
    """

    __tablename__ = "installation"
    __table_args__: ClassVar[Any] = (
        Index(
            "installation_scope", "organization_id", "plugin_id", "store_id", unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index("installation_status", "organization_id", "status"),
        Index("installation_order", "organization_id", "created_at", "id"),
        Index("installation_version", "plugin_id", "version"),
        ForeignKeyConstraint(["plugin_id", "version"], ["plugin_version.plugin_id", "plugin_version.version"]),
        CheckConstraint(
            "status IN ('installing', 'inactive', 'active', 'error', 'uninstalling')", name="installation_status_known"
        ),
    )  # fmt: skip

    id: UUID = Field(primary_key=True)
    plugin_id: str
    version: str
    organization_id: str
    store_id: str | None = None
    status: str
    status_reason: str | None = None
    config: dict[str, Any] = Field(sa_type=JSONB)
    grants: list[str] = Field(sa_type=JSONB)
    revision: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))
    installed_at: datetime | None = Field(default=None, sa_column=_moment())
    installed_by: str
    last_activated_at: datetime | None = Field(default=None, sa_column=_moment())
    last_deactivated_at: datetime | None = Field(default=None, sa_column=_moment())
    last_used_at: datetime | None = Field(default=None, sa_column=_moment())
    activations: int = Field(default=0, sa_column=_counter())
    api_calls: int = Field(default=0, sa_column=_counter())
    route_calls: int = Field(default=0, sa_column=_counter())
    hook_runs: int = Field(default=0, sa_column=_counter())
    hook_errors: int = Field(default=0, sa_column=_counter())
    operation_id: UUID | None = None
    operation_started_at: datetime | None = Field(default=None, sa_column=_moment())
    breaker: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    """The circuit breaker as :class:`services.common.directory.Breaker`; None: it never opened."""
    backlog: str = Field(default="none", sa_column_kwargs={"server_default": "none"})
    """See :data:`services.common.directory.Backlog`."""
    libraries: list[dict[str, Any]] = Field(
        default_factory=list, sa_type=JSONB, sa_column_kwargs={"server_default": "[]"}
    )
    """What was resolved for it, as :class:`services.common.directory.Library`."""
    updating: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


def _installation_reference(*, primary_key: bool = False) -> Any:
    return Column(ForeignKey("installation.id", ondelete="CASCADE"), primary_key=primary_key, nullable=False)


class InstallationError(RegistryModel, table=True):
    """A failure of one installation; only the newest are kept. ``source`` is plugin or platform."""

    __tablename__ = "installation_error"
    __table_args__: ClassVar[Any] = (Index("installation_error_newest", "installation_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    installation_id: UUID = Field(sa_column=_installation_reference())
    at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))
    source: str
    code: str
    message: str
    stack: str
    during: str
    """The hook or route that failed."""
    event_id: str | None = None


class ReportCursor(RegistryModel, table=True):
    """The last execution summary of a worker that was counted for an installation."""

    __tablename__ = "report_cursor"

    installation_id: UUID = Field(sa_column=_installation_reference(primary_key=True))
    worker_id: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))


class AppliedChange(RegistryModel, table=True):
    """A change of a plugin to its own settings that was decided on: taken over, or refused."""

    __tablename__ = "applied_change"
    __table_args__: ClassVar[Any] = (Index("applied_change_age", "installation_id", "applied_at"),)

    installation_id: UUID = Field(sa_column=_installation_reference(primary_key=True))
    id: str = Field(primary_key=True)
    applied_at: datetime = Field(default_factory=_now, sa_column=_moment(required=True))


class HookUsage(RegistryModel, table=True):
    """What one hook of an installation did in one store (``*``: in none), since the installation.

    ``hook`` is an event type, ``METHOD /path``, ``schedule <name>`` or ``job <name>``; ``latency`` a histogram with the
    buckets of :mod:`services.common.latency`.
    """

    __tablename__ = "hook_usage"

    installation_id: UUID = Field(sa_column=_installation_reference(primary_key=True))
    hook: str = Field(primary_key=True)
    store_id: str = Field(primary_key=True)
    runs: int = Field(default=0, sa_column=_counter())
    errors: int = Field(default=0, sa_column=_counter())
    latency: dict[str, int] = Field(default_factory=dict, sa_type=JSONB)
    last_used_at: datetime = Field(sa_column=_moment(required=True))


class RecentStatistics(RegistryModel, table=True):
    """The last that insights told of an installation's last minute."""

    __tablename__ = "recent_statistics"

    installation_id: UUID = Field(sa_column=_installation_reference(primary_key=True))
    at: datetime = Field(sa_column=_moment(required=True))
    document: dict[str, Any] = Field(sa_type=JSONB)


class Publication(RegistryModel, table=True):
    """One row: the revision given to the last change of any installation.

    Taking the next revision locks the row until the transaction ends, so revisions commit in order and without gaps.
    """

    __tablename__ = "publication"
    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="publication_single"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    revision: int = Field(sa_type=BigInteger)


outbox = outbox_table(RegistryModel.metadata)
metadata = RegistryModel.metadata
