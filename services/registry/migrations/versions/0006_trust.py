"""Keys of publishers, signatures and levels of versions, and versions that were taken back."""

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
    for action, reason in (("yanked", "yank_reason"), ("revoked", "revocation_reason")):
        op.add_column("plugin_version", sa.Column(f"{action}_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column("plugin_version", sa.Column(f"{action}_by", sa.String(), nullable=True))
        op.add_column("plugin_version", sa.Column(reason, sa.String(), nullable=True))
    revision = sa.Column("announced_revision", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("plugin_version", revision)
    op.alter_column("plugin", "latest_version", nullable=True)
    op.add_column("plugin", sa.Column("mirrored", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("plugin", sa.Column("latest_public", sa.String(), nullable=True))
    op.execute("UPDATE plugin SET latest_public = latest_version")
    op.create_table(
        "submission",
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("submitted_by", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("comment", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["plugin_id", "version"], ["plugin_version.plugin_id", "plugin_version.version"]),
        sa.PrimaryKeyConstraint("plugin_id", "version"),
    )
    op.create_index("submission_queue", "submission", ["status", "submitted_at", "plugin_id", "version"])


def downgrade() -> None:
    op.drop_table("submission")
    op.execute(
        "UPDATE plugin SET latest_version = (SELECT max(v.version) FROM plugin_version v WHERE v.plugin_id = plugin.id)"
        " WHERE latest_version IS NULL"
    )
    op.drop_column("plugin", "latest_public")
    op.drop_column("plugin", "mirrored")
    op.alter_column("plugin", "latest_version", nullable=False)
    op.drop_column("plugin_version", "announced_revision")
    for action, reason in (("yanked", "yank_reason"), ("revoked", "revocation_reason")):
        op.drop_column("plugin_version", reason)
        op.drop_column("plugin_version", f"{action}_by")
        op.drop_column("plugin_version", f"{action}_at")
    op.drop_column("plugin_version", "level")
    op.drop_column("plugin_version", "public_key")
    op.drop_column("plugin_version", "signature")
    op.drop_table("publisher_key")
