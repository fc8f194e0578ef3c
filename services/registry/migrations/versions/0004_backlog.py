"""What becomes of the events of a deactivated installation."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("backlog", sa.String(), server_default="none", nullable=False))


def downgrade() -> None:
    op.drop_column("installation", "backlog")
