"""Updates of installations: under way, to go back to, skipped, by policy, and in stages."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("libraries", JSONB(), server_default="[]", nullable=False))
    op.add_column("installation", sa.Column("updating", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "pending_update",
        _installation(),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("grants", JSONB(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("libraries", JSONB(), nullable=False),
        sa.Column("base", JSONB(), nullable=False),
        sa.Column("asked_by", JSONB(), nullable=False),
    )
    op.create_table(
        "previous_version",
        _installation(),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("grants", JSONB(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("libraries", JSONB(), nullable=False),
        _moment("replaced_at"),
        sa.Column("replaced_by", sa.String(), nullable=False),
    )
    op.create_table(
        "skipped_version",
        _installation(),
        sa.Column("version", sa.String(), primary_key=True),
        sa.Column("reason", sa.String(), nullable=False),
        _moment("at"),
    )
    op.create_table(
        "update_policy",
        sa.Column("organization_id", sa.String(), primary_key=True),
        sa.Column("policy", sa.String(), nullable=False),
        _moment("changed_at"),
        sa.Column("changed_by", sa.String(), nullable=False),
    )
    _create_rollouts()


def _create_rollouts() -> None:
    op.create_table(
        "rollout",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("percents", JSONB(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("new_grants", JSONB(), nullable=False),
        sa.Column("error_rate", sa.Float(), nullable=False),
        sa.Column("minimum_runs", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        _moment("created_at"),
        sa.Column("created_by", sa.String(), nullable=False),
    )
    op.create_index(
        "rollout_ongoing",
        "rollout",
        ["organization_id", "plugin_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'rolling-back')"),
    )
    op.create_table(
        "rollout_member",
        sa.Column("rollout_id", sa.Uuid(), sa.ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True),
        _installation(),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("base_runs", sa.BigInteger(), nullable=False),
        sa.Column("base_errors", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "rollout_member",
        "rollout",
        "update_policy",
        "skipped_version",
        "previous_version",
        "pending_update",
    ):
        op.drop_table(table)
    op.drop_column("installation", "updating")
    op.drop_column("installation", "libraries")


def _installation() -> Any:
    return sa.Column(
        "installation_id", sa.Uuid(), sa.ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True
    )


def _moment(name: str) -> Any:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
