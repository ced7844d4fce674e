"""The table `application_sets`."""

import sqlalchemy as sa
from alembic import op

revision = "application_set_0001"
down_revision = None
branch_labels = ("application_set",)
depends_on = None


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(length=4294967295), "mysql", "mariadb")
    op.create_table(
        "application_sets",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("cluster", sa.String(length=63), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("elements", text, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_application_sets")),
    )
