"""The tables of regions, and of what regions and stores have otherwise than their organization."""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.registry.models import RegistryModel


class Region(RegistryModel, table=True):
    """A named group of an organization's stores."""

    __tablename__ = "region"

    organization_id: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    name: str


class RegionStore(RegistryModel, table=True):
    """A store of a region; no store is in two."""

    __tablename__ = "region_store"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["organization_id", "region_id"], ["region.organization_id", "region.id"]),
        Index("region_store_region", "organization_id", "region_id"),
    )

    organization_id: str = Field(primary_key=True)
    store_id: str = Field(primary_key=True)
    region_id: str


class InstallationOverride(RegistryModel, table=True):
    """What an installation of the whole organization has otherwise in a region or a store.

    ``config`` takes the place of settings, secrets sealed; ``removed`` are settings that are not set there; ``grants``
    says of some permissions whether they are granted there.
    """

    __tablename__ = "installation_override"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("level IN ('region', 'store')", name="installation_override_level_known"),
    )

    installation_id: UUID = Field(
        sa_column=Column(ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    level: str = Field(primary_key=True)
    place_id: str = Field(primary_key=True)
    config: dict[str, Any] = Field(sa_type=JSONB)
    removed: list[str] = Field(sa_type=JSONB)
    grants: dict[str, bool] = Field(sa_type=JSONB)
