"""Keys of publishers, and the signatures of versions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "publisher_key",
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public_key", postgresql.JSONB(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("registered_by", sa.String(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("organization", "id"),
    )
    op.add_column("plugin_version", sa.Column("signature", sa.String(), nullable=True))
    op.add_column("plugin_version", sa.Column("public_key", postgresql.JSONB(), nullable=True))
    op.add_column("plugin_version", sa.Column("level", sa.String(), server_default="community", nullable=False))


def downgrade() -> None:
    op.drop_column("plugin_version", "level")
    op.drop_column("plugin_version", "public_key")
    op.drop_column("plugin_version", "signature")
    op.drop_table("publisher_key")
