"""Data that outlives its installation."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "retained_data",
        sa.Column("installation_id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=True),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=True),
        sa.Column("retained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("installation_id"),
    )
    op.create_index("retained_data_organization", "retained_data", ["organization_id", "plugin_id"])
    op.create_index(
        "retained_data_expires_at", "retained_data", ["expires_at"], postgresql_where=sa.text("expires_at IS NOT NULL")
    )
    op.execute("ALTER TABLE retained_data ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE retained_data FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY own ON retained_data USING (organization_id = current_setting('outlet.organization', true))"
    )
    op.execute("CREATE POLICY platform ON retained_data USING (current_setting('outlet.platform', true) = 'on')")


def downgrade() -> None:
    op.drop_table("retained_data")
