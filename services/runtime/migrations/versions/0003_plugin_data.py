"""Key-value data of plugins."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "plugin_value",
        sa.Column("installation_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(collation="C"), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("installation_id", "key"),
    )
    op.create_index(
        "plugin_value_expires_at", "plugin_value", ["expires_at"], postgresql_where=sa.text("expires_at IS NOT NULL")
    )
    op.execute("ALTER TABLE plugin_value ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE plugin_value FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY own ON plugin_value USING (installation_id = current_setting('outlet.installation', true))"
    )
    op.execute("CREATE POLICY platform ON plugin_value USING (current_setting('outlet.platform', true) = 'on')")


def downgrade() -> None:
    op.drop_table("plugin_value")
