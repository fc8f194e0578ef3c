"""Updates of installations: under way, to go back to, skipped, and the policies of organizations."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0007"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("updating", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "pending_update",
        _installation(),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("grants", JSONB(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("base", JSONB(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
    )
    op.create_table(
        "previous_version",
        _installation(),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("grants", JSONB(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
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


def downgrade() -> None:
    for table in ("update_policy", "skipped_version", "previous_version", "pending_update"):
        op.drop_table(table)
    op.drop_column("installation", "updating")


def _installation() -> Any:
    return sa.Column(
        "installation_id", sa.Uuid(), sa.ForeignKey("installation.id", ondelete="CASCADE"), primary_key=True
    )


def _moment(name: str) -> Any:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
