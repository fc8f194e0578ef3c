"""The tables of the runtime: the replica of the stores' entities, and what delivery needs.

The custom tables of plugins live beside them in schema ``plugin_data`` and are made when a plugin asks for them.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from services.common.outbox import outbox_table

MIGRATIONS = Path(__file__).parent / "migrations"


class RuntimeModel(SQLModel, registry=registry()):
    """Keeps the runtime's tables apart from those of other services."""


class Replica(RuntimeModel):
    """One entity as its store last published it. ``data`` is None once it is deleted."""

    organization_id: str = Field(primary_key=True)
    store_id: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    data: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    occurred_at: datetime = Field(sa_type=DateTime(timezone=True))


class Sale(Replica, table=True):
    __tablename__ = "sale"


class Product(Replica, table=True):
    __tablename__ = "product"


class Customer(Replica, table=True):
    __tablename__ = "customer"


class Employee(Replica, table=True):
    __tablename__ = "employee"


class Store(Replica, table=True):
    __tablename__ = "store"


class InboxEntry(RuntimeModel, table=True):
    """An invocation whose effects are committed: the row is part of the same transaction.

    ``source`` and ``id`` identify what caused it (an event, a request, an operation), ``target`` is the hook or route.
    """

    __tablename__ = "inbox"
    __table_args__: ClassVar[Any] = (Index("inbox_processed_at", "processed_at"),)

    installation_id: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    result: bytes | None = Field(default=None, sa_type=LargeBinary)
    processed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class PluginTable(RuntimeModel, table=True):
    """The definition of a custom table: one PostgreSQL table for all installations of the plugin.

    ``definition`` is all that its versions declared, ``views`` what each did, by the digest of its package.
    """

    __tablename__ = "plugin_table"

    plugin_id: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    definition: dict[str, Any] = Field(sa_type=JSONB)
    views: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"})


class BackgroundWork(RuntimeModel, table=True):
    """A tick of a schedule or a job that waits or runs; gone once it is done.

    ``due_at`` is when the next worker may take it: its time, the end of the lease ``leased_by``, or the next attempt.
    ``trace``: the context that its span is a child of, as headers have it (also in the other tables that have it).
    """

    __tablename__ = "background_work"
    __table_args__: ClassVar[Any] = (
        Index("background_work_due", "due_at", "installation_id"),
        Index("background_work_installation", "installation_id", "kind"),
    )

    id: str = Field(primary_key=True)
    kind: str
    installation_id: str
    name: str
    store_id: str | None = None
    payload: bytes = Field(sa_type=LargeBinary)
    planned_at: datetime = Field(sa_type=DateTime(timezone=True))
    due_at: datetime = Field(sa_type=DateTime(timezone=True))
    leased_by: str | None = None
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    trace: str | None = None


class ScheduleClock(RuntimeModel, table=True):
    """Up to when the ticks of a schedule have been decided on, and when the next one comes."""

    __tablename__ = "schedule_clock"
    __table_args__: ClassVar[Any] = (Index("schedule_clock_next", "next_at"),)

    installation_id: str = Field(primary_key=True)
    schedule: str = Field(primary_key=True)
    planned_at: datetime = Field(sa_type=DateTime(timezone=True))
    next_at: datetime = Field(sa_type=DateTime(timezone=True))


class LedgerEntry(RuntimeModel, table=True):
    """One event for one hook that did not succeed at once: what was tried, and when it is tried again.

    ``state`` is ``waiting``, then ``succeeded``, ``dead`` (a dead letter) or ``discarded``. ``attempts`` counts those
    that were begun: a worker that is killed in the middle of one has made it. ``due_at`` is when the next worker may
    take it: its time, or the end of the lease of ``leased_by``. ``ordered`` entries of one ``record_key`` wait for
    each other, in the order of their ids: those of ordered hooks, and those that have not been tried. ``alone``: its
    guest ended with it and others in it, so it has the next one for itself. ``event`` is msgpack of the whole event, as
    the POS published it, ``position`` where on Kafka: ``topic/partition/offset``. ``replay_id`` names the last replay
    that took it up again as a dead letter.
    """

    __tablename__ = "attempt_ledger"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("installation_id", "target", "source", "event_id", name="attempt_ledger_once"),
        Index("attempt_ledger_due", "installation_id", "due_at", postgresql_where=text("state = 'waiting'")),
        Index(
            "attempt_ledger_key",
            "installation_id",
            "record_key",
            "id",
            postgresql_where=text("state = 'waiting' AND ordered"),
        ),
        Index("attempt_ledger_state", "organization_id", "state", "id"),
        Index("attempt_ledger_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("attempt_ledger_replay", "organization_id", "replay_id", postgresql_where=text("replay_id IS NOT NULL")),
    )

    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    installation_id: str
    target: str
    source: str
    event_id: str
    organization_id: str
    store_id: str
    plugin_id: str
    version: str
    record_key: bytes = Field(sa_type=LargeBinary)
    event: bytes = Field(sa_type=LargeBinary)
    position: str
    ordered: bool
    alone: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    state: str
    attempts: int
    most_attempts: int
    due_at: datetime = Field(sa_type=DateTime(timezone=True))
    leased_by: str | None = None
    code: str | None = None
    message: str | None = None
    stack: str | None = None
    failed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    finished_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    replay_id: str | None = None
    trace: str | None = None


class PluginValue(RuntimeModel, table=True):
    """One entry of an installation's key-value data; gone once ``expires_at`` has passed."""

    __tablename__ = "plugin_value"
    __table_args__: ClassVar[Any] = (
        Index("plugin_value_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    installation_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True, sa_type=String(collation="C"))
    value: Any = Field(sa_column=Column(JSONB, nullable=False))
    expires_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Webhook(RuntimeModel, table=True):
    """Where an installation wants the events of one type sent.

    ``failures`` and ``gone`` count in a row; ``paused_until`` gives a failing receiver a break. The previous secret
    signs along until ``previous_until``.
    """

    __tablename__ = "webhook"
    __table_args__: ClassVar[Any] = (UniqueConstraint("installation_id", "event", "url", name="webhook_destination"),)

    id: str = Field(primary_key=True)
    installation_id: str
    event: str
    url: str
    secret: str
    previous_secret: str | None = None
    previous_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    gone: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failing_since: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    paused_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    disabled_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    disabled_reason: str | None = None
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class WebhookDelivery(RuntimeModel, table=True):
    """One event owed to one webhook: ``pending`` until it is ``delivered`` or has ``failed``.

    ``due_at`` is when the next worker may take it: its next attempt, or the end of the lease of the one under way.
    """

    __tablename__ = "webhook_delivery"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("webhook_id", "source", "event_id", name="webhook_delivery_once"),
        Index("webhook_delivery_due", "webhook_id", "due_at", postgresql_where=text("status = 'pending'")),
        Index("webhook_delivery_created", "webhook_id", "created_at"),
        Index("webhook_delivery_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: str = Field(primary_key=True)
    webhook_id: str = Field(foreign_key="webhook.id", ondelete="CASCADE")
    installation_id: str
    source: str
    event_id: str
    event: str
    payload: bytes = Field(sa_type=LargeBinary)
    status: str = Field(default="pending", sa_column_kwargs={"server_default": "pending"})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_at: datetime = Field(sa_type=DateTime(timezone=True))
    response_code: int | None = None
    response_excerpt: str | None = None
    error: str | None = None
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    finished_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    trace: str | None = None


class RetainedData(RuntimeModel, table=True):
    """What becomes, or became, of an installation's data when it is uninstalled.

    ``purpose`` is drop, keep, export, or adopted (by this installation, from a former one). ``retained_at`` is when the
    data was left; ``details`` describes what was not.
    """

    __tablename__ = "retained_data"
    __table_args__: ClassVar[Any] = (
        Index("retained_data_organization", "organization_id", "plugin_id"),
        Index("retained_data_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    installation_id: str = Field(primary_key=True)
    organization_id: str
    plugin_id: str
    version: str
    store_id: str | None = None
    purpose: str
    days: int
    details: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    retained_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    expires_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


outbox = outbox_table(RuntimeModel.metadata)
metadata = RuntimeModel.metadata
