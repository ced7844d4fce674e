"""The entries table."""

import sqlalchemy as sa
from alembic import op

revision = "entry_0001"
down_revision = None
branch_labels = ("entry",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("writes", sa.Integer, nullable=False),
    )
