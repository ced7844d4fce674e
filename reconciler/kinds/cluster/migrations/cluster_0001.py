"""The tables of the kind. `clusters` may be the predecessor's of its kindler.db, whose rows and other tables stay."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "cluster_0001"
down_revision = None
branch_labels = ("cluster",)
depends_on = None

takes_over = {"clusters": {"id", "name", "provider"}, "operations": {"id", "cluster_name"}}
"""Tables that may be there before any migration of ours, with columns by which they are known (see `store.schema`)."""

_CONVERSIONS = (
    "UPDATE clusters SET created_at = CAST(strftime('%s', created_at) AS REAL) WHERE typeof(created_at) = 'text'",
    "UPDATE clusters SET updated_at = CAST(strftime('%s', updated_at) AS REAL) WHERE typeof(updated_at) = 'text'",
    "UPDATE clusters SET last_reconciled_at = CAST(strftime('%s', last_reconciled_at) AS REAL) "
    "WHERE typeof(last_reconciled_at) = 'text'",
    "UPDATE clusters SET actual_state = 'unknown' WHERE actual_state IS NULL "
    "OR actual_state NOT IN ('unknown', 'creating', 'running', 'failed', 'deleting')",
    "UPDATE clusters SET status = actual_state, desired_state = coalesce(desired_state, 'present')",
    "UPDATE clusters SET role = 'management' WHERE name = 'devops'",
)


def upgrade() -> None:
    connection = op.get_bind()
    there = sa.inspect(connection)
    _create_attachments()
    if there.has_table("clusters"):
        _take_over(connection, {column["name"] for column in there.get_columns("clusters")})
        return
    op.create_table(
        "clusters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        *_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("name", name=op.f("uq_clusters_name")),
    )


def _create_attachments() -> None:
    text = sa.Text().with_variant(sa.Text(length=4294967295), "mysql", "mariadb")
    op.create_table(
        "cluster_attachments",
        sa.Column("cluster", sa.String(length=63), nullable=False),
        sa.Column("field", sa.String(length=32), nullable=False),
        sa.Column("state", text, nullable=True),
        sa.Column("error", text, nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("cluster", "field", name=op.f("pk_cluster_attachments")),
    )


def _columns() -> list[sa.Column[Any]]:
    text = sa.Text().with_variant(sa.Text(length=4294967295), "mysql", "mariadb")
    return [
        sa.Column("subnet", sa.String(length=64), nullable=True),
        sa.Column("node_port", sa.Integer(), nullable=True),
        sa.Column("pf_port", sa.Integer(), nullable=True),
        sa.Column("http_port", sa.Integer(), nullable=True),
        sa.Column("https_port", sa.Integer(), nullable=True),
        sa.Column("server_ip", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), server_default="unknown", nullable=False),
        sa.Column("desired_state", sa.String(length=16), server_default="present", nullable=False),
        sa.Column("actual_state", sa.String(length=16), server_default="unknown", nullable=False),
        sa.Column("last_reconciled_at", sa.Double(), nullable=True),
        sa.Column("reconcile_error", text, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.Column("version", sa.String(length=32), server_default="", nullable=False),
        sa.Column("servers", sa.Integer(), nullable=True),
        sa.Column("agents", sa.Integer(), nullable=True),
        sa.Column("role", sa.String(length=16), server_default="business", nullable=False),
        sa.Column("environment", sa.String(length=63), server_default="", nullable=False),
        sa.Column("description", sa.String(length=512), server_default="", nullable=False),
        sa.Column("cluster_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("server", sa.String(length=255), server_default="", nullable=False),
        sa.Column("kubeconfig", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("context", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_by_us", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("inventory", text, nullable=True),
        sa.Column("desired_by", sa.String(length=16), server_default="row", nullable=False),
        sa.Column("register_portainer", sa.SmallInteger(), nullable=True),
        sa.Column("haproxy_route", sa.SmallInteger(), nullable=True),
        sa.Column("granted_ports", sa.String(length=255), server_default="{}", nullable=False),
        sa.Column("made_ports", sa.String(length=255), nullable=True),
    ]


def _take_over(connection: sa.Connection, there: set[str]) -> None:
    """Add what is missing and bring what is there into our form. Nothing is rebuilt: `operations` refers to the table.

    Its times are text in UTC; `devops` was its management cluster by name; a state that we do not know is `unknown`.
    """
    for column in _columns():
        if column.name not in there:
            op.add_column("clusters", column)
    for statement in _CONVERSIONS:
        connection.execute(sa.text(statement))
