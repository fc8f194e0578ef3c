"""Which trace an event, a delivery or a job that waits is part of."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("attempt_ledger", "background_work", "webhook_delivery")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("trace", sa.String(), nullable=True))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "trace")
