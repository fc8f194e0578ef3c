"""The tables of staged roll-outs."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel

ONGOING = ("running", "rolling-back")


def _moment(*, required: bool = True) -> Any:
    return Column(DateTime(timezone=True), nullable=not required, server_default=func.now() if required else None)


def _now() -> datetime:
    return datetime.now(UTC)


class Rollout(RegistryModel, table=True):
    """One version on its way to the stores of an organization, some percent of them after the other.

    ``stage`` counts from 0 and points into ``percents``. ``new_grants`` is what was agreed to of what the version asks
    for the first time. The budget is ``error_rate`` once there were ``minimum_runs``; each stage is watched for
    ``window_seconds`` after its last update.
    """

    __tablename__ = "rollout"
    __table_args__: ClassVar[Any] = (
        Index(
            "rollout_ongoing", "organization_id", "plugin_id", unique=True,
            postgresql_where=text("state IN ('running', 'rolling-back')"),
        ),
    )  # fmt: skip

    id: UUID = Field(primary_key=True)
    organization_id: str
    plugin_id: str
    version: str
    state: str
    reason: str | None = None
    percents: list[int] = Field(sa_type=JSONB)
    stage: int = 0
    new_grants: list[str] = Field(sa_type=JSONB)
    error_rate: float
    minimum_runs: int
    window_seconds: int
    created_at: datetime = Field(default_factory=_now, sa_column=_moment())
    created_by: str


class RolloutMember(RegistryModel, table=True):
    """A store's installation in a roll-out; ``position`` is its place in the order. What it had run is ``base_*``."""

    __tablename__ = "rollout_member"

    rollout_id: UUID = Field(
        sa_column=Column(ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    installation_id: UUID = Field(
        sa_column=Column(ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    position: int
    state: str = "waiting"
    reason: str | None = None
    updated_at: datetime | None = Field(default=None, sa_column=_moment(required=False))
    base_runs: int = Field(default=0, sa_type=BigInteger)
    base_errors: int = Field(default=0, sa_type=BigInteger)
