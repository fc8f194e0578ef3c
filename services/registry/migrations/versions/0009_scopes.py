"""Regions, and what regions and stores have otherwise than their organization."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "region",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_table(
        "region_store",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=False),
        sa.Column("region_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id", "region_id"], ["region.organization_id", "region.id"]),
        sa.PrimaryKeyConstraint("organization_id", "store_id"),
    )
    op.create_index("region_store_region", "region_store", ["organization_id", "region_id"])
    op.create_table(
        "installation_override",
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("place_id", sa.String(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("removed", JSONB(), nullable=False),
        sa.Column("grants", JSONB(), nullable=False),
        sa.CheckConstraint("level IN ('region', 'store')", name="installation_override_level_known"),
        sa.ForeignKeyConstraint(["installation_id"], ["installation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("installation_id", "level", "place_id"),
    )


def downgrade() -> None:
    op.drop_table("installation_override")
    op.drop_table("region_store")
    op.drop_table("region")
