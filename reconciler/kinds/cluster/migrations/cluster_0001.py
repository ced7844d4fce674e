"""The table `clusters`."""

import sqlalchemy as sa
from alembic import op

revision = "cluster_0001"
down_revision = None
branch_labels = ("cluster",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("subnet", sa.String(length=64), nullable=True),
        sa.Column("node_port", sa.Integer(), nullable=True),
        sa.Column("pf_port", sa.Integer(), nullable=True),
        sa.Column("http_port", sa.Integer(), nullable=True),
        sa.Column("https_port", sa.Integer(), nullable=True),
        sa.Column("server_ip", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("desired_state", sa.String(length=16), nullable=False),
        sa.Column("actual_state", sa.String(length=16), nullable=False),
        sa.Column("last_reconciled_at", sa.Double(), nullable=True),
        sa.Column(
            "reconcile_error",
            sa.Text()
            .with_variant(sa.Text(length=4294967295), "mariadb")
            .with_variant(sa.Text(length=4294967295), "mysql"),
            nullable=True,
        ),
        sa.Column("created_at", sa.Double(), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("servers", sa.Integer(), nullable=True),
        sa.Column("agents", sa.Integer(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("description", sa.String(length=512), nullable=False),
        sa.Column("cluster_uid", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=255), nullable=False),
        sa.Column("kubeconfig", sa.String(length=1024), nullable=False),
        sa.Column("context", sa.String(length=255), nullable=False),
        sa.Column("created_by_us", sa.SmallInteger(), nullable=False),
        sa.Column(
            "inventory",
            sa.Text()
            .with_variant(sa.Text(length=4294967295), "mariadb")
            .with_variant(sa.Text(length=4294967295), "mysql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("name", name=op.f("uq_clusters_name")),
    )
