"""Which replay took a dead letter up again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("attempt_ledger", sa.Column("replay_id", sa.String(), nullable=True))
    op.create_index(
        "attempt_ledger_replay",
        "attempt_ledger",
        ["organization_id", "replay_id"],
        postgresql_where=sa.text("replay_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("attempt_ledger_replay", "attempt_ledger")
    op.drop_column("attempt_ledger", "replay_id")
