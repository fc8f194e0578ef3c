"""The catalogue, the installations with their errors, and what leaves through the outbox."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _catalogue()
    _installations()
    _publication()


def _catalogue() -> None:
    op.create_table(
        "plugin",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("publisher_organization", sa.String(), nullable=False),
        sa.Column("latest_version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "plugin_version",
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("published_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["plugin_id"], ["plugin.id"]),
        sa.PrimaryKeyConstraint("plugin_id", "version"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "plugin_package",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["plugin_version.digest"]),
        sa.PrimaryKeyConstraint("digest"),
    )


def _installations() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_reason", sa.String(), nullable=True),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column("grants", postgresql.JSONB(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("installed_by", sa.String(), nullable=False),
        sa.Column("last_activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_deactivated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activations", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("api_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("route_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hook_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hook_errors", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=True),
        sa.Column("operation_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('installing', 'inactive', 'active', 'error', 'uninstalling')", name="installation_status_known"
        ),
        sa.ForeignKeyConstraint(["plugin_id", "version"], ["plugin_version.plugin_id", "plugin_version.version"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "installation_scope",
        "installation",
        ["organization_id", "plugin_id", "store_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("installation_status", "installation", ["organization_id", "status"])
    op.create_index("installation_order", "installation", ["organization_id", "created_at", "id"])
    op.create_index("installation_version", "installation", ["plugin_id", "version"])
    op.create_table(
        "installation_error",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("stack", sa.String(), nullable=False),
        sa.Column("during", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["installation_id"], ["installation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("installation_error_newest", "installation_error", ["installation_id", "id"])
    op.create_table(
        "report_cursor",
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["installation_id"], ["installation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("installation_id", "worker_id"),
    )


def _publication() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("headers", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    publication = op.create_table(
        "publication",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="publication_single"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(publication, [{"id": 1, "revision": 0}])


def downgrade() -> None:
    for table in (
        "publication",
        "outbox",
        "report_cursor",
        "installation_error",
        "installation",
        "plugin_package",
        "plugin_version",
        "plugin",
    ):
        op.drop_table(table)
