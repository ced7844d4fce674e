"""The tables of projects: made, or taken over from the predecessor's with their rows.

Its tables had no unique key that held without an environment, none on the steps, `environment_id` and `repository_id`
that may not be NULL, and times as text. SQLite cannot change that in place: what is there is moved aside, copied into
new tables and dropped. Columns that we do not know are left behind. What the missing keys let happen (the same object
or step twice) is kept once, as it was last changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "project_0001"
down_revision = None
branch_labels = ("project",)
depends_on = None

takes_over = {
    "projects": {"id", "name", "slug"},
    "environments": {"id", "project_id", "name", "type"},
    "repositories": {"id", "project_id", "full_name", "clone_url"},
    "gitops_resources": {"id", "project_id", "type", "name", "namespace"},
    "project_initialization_steps": {"id", "project_id", "step"},
}
"""Tables that may be there before any migration of ours, with columns by which they are known (see `store.schema`)."""

_TEXT = sa.Text().with_variant(sa.Text(length=4294967295), "mysql", "mariadb")
_ID = sa.String(length=36)
_OLD = "before_{}"
_KEYS = {
    "environments": ("project_id", "name"),
    "repositories": ("project_id", "full_name"),
    "gitops_resources": ("project_id", "type", "namespace", "name"),
    "project_initialization_steps": ("project_id", "step"),
}


def upgrade() -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    there = {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in takes_over
        if inspector.has_table(name)
    }
    for name in there:
        op.rename_table(name, _OLD.format(name))
    made = {name: op.create_table(name, *columns) for name, columns in _tables().items()}
    if not there:
        return
    for name in takes_over:
        if name in there:
            connection.execute(sa.text(_copy(made[name], there[name])))
        if name == "projects":
            _stand_in(connection, list(there))
    for name in reversed(there):
        op.drop_table(_OLD.format(name))


def _stand_in(connection: sa.Connection, there: Sequence[str]) -> None:
    """A project for rows that refer to one which is not there, so that they are kept."""
    for name in there:
        if name != "projects":
            connection.execute(
                sa.text(
                    "INSERT INTO projects (id, name, slug, status) SELECT DISTINCT project_id, project_id, project_id, "  # noqa: S608 - names of ours
                    f"'inactive' FROM {_OLD.format(name)} WHERE project_id NOT IN (SELECT id FROM projects)"
                )
            )


def _copy(table: sa.Table, there: set[str]) -> str:
    """The statement that copies what is there. What may not be NULL with us and is gets our default."""
    columns = [column for column in table.columns if column.name in there]
    values = ", ".join(_value(column) for column in columns)
    source = _OLD.format(table.name)
    newest = ""
    if keys := _KEYS.get(table.name):
        stamp = "updated_at" if "updated_at" in there else "rowid"
        rank = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {stamp} DESC, rowid DESC)"
        newest = f" WHERE rowid IN (SELECT rowid FROM (SELECT rowid, {rank} AS place FROM {source}) WHERE place = 1)"  # noqa: S608 - names of ours
    names = ", ".join(column.name for column in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {source}{newest}"  # noqa: S608 - names of ours


def _value(column: sa.Column[Any]) -> str:
    if isinstance(column.type, sa.Double):  # times were text in UTC
        seconds = f"CAST(strftime('%s', {column.name}) AS REAL)"
        return f"CASE typeof({column.name}) WHEN 'text' THEN {seconds} ELSE {column.name} END"
    if column.name in ("environment_id", "repository_id"):  # some writers had to invent one
        parent = "environments" if column.name == "environment_id" else "repositories"
        return f"CASE WHEN {column.name} IN (SELECT id FROM {parent}) THEN {column.name} END"  # noqa: S608 - names of ours
    default = column.server_default
    if not column.nullable and isinstance(default, sa.DefaultClause):
        return f"coalesce({column.name}, '{default.arg}')"
    return column.name


def _tables() -> Mapping[str, Sequence[Any]]:
    """Columns and keys by table, each after those that it refers to."""
    return {
        "projects": _projects(),
        "environments": _environments(),
        "repositories": _repositories(),
        "gitops_resources": _gitops_resources(),
        "project_initialization_steps": _steps(),
        "flux_installs": _flux_installs(),
    }


def _projects() -> list[Any]:
    return [
        sa.Column("id", _ID, nullable=False),
        sa.Column("organization_id", _ID, nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=False),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("logo_url", _TEXT, nullable=True),
        sa.Column("visibility", sa.String(length=16), server_default="private", nullable=False),
        sa.Column("status", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("initialization_job_id", sa.String(length=255), nullable=True),
        sa.Column("initialization_started_at", sa.Double(), nullable=True),
        sa.Column("initialization_completed_at", sa.Double(), nullable=True),
        sa.Column("initialization_error", _TEXT, nullable=True),
        sa.Column("template_id", _ID, nullable=True),
        sa.Column("template_config", _TEXT, nullable=True),
        sa.Column("health_score", sa.Integer(), nullable=True),
        sa.Column("health_status", sa.String(length=16), nullable=True),
        sa.Column("last_health_check", sa.Double(), nullable=True),
        sa.Column("config", _TEXT, nullable=True),
        *_ages(deleted=True),
        sa.Column("resource", sa.String(length=63), nullable=True),
        sa.Column("cluster", sa.String(length=63), server_default="", nullable=False),
        sa.Column("namespace", sa.String(length=63), server_default="", nullable=False),
        sa.Column("progress", sa.Integer(), server_default="0", nullable=False),
        sa.Column("inventory", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("resource", name=op.f("uq_projects_resource")),
    ]


def _environments() -> list[Any]:
    return [
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("status", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("health_check_url", _TEXT, nullable=True),
        sa.Column("config", _TEXT, nullable=True),
        sa.Column("permissions", _TEXT, nullable=True),
        *_ages(deleted=True),
        sa.Column("slug", sa.String(length=63), server_default="", nullable=False),
        sa.Column("sequence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cluster", sa.String(length=63), server_default="", nullable=False),
        sa.Column("namespace", sa.String(length=63), server_default="", nullable=False),
        sa.Column("path", sa.String(length=512), server_default="", nullable=False),
        *_keys("environments", "name"),
    ]


def _repositories() -> list[Any]:
    return [
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("full_name", sa.String(length=255), nullable=False),
        sa.Column("clone_url", sa.String(length=1024), nullable=False),
        sa.Column("default_branch", sa.String(length=255), server_default="main", nullable=False),
        sa.Column("last_sync_at", sa.Double(), nullable=True),
        sa.Column("status", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("gitops_config", _TEXT, nullable=True),
        *_ages(),
        sa.Column("created_by_us", sa.SmallInteger(), server_default="0", nullable=False),
        *_keys("repositories", "full_name"),
    ]


def _gitops_resources() -> list[Any]:
    table = "gitops_resources"
    return [
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("environment_id", _ID, nullable=True),
        sa.Column("repository_id", _ID, nullable=True),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("config", _TEXT, nullable=True),
        sa.Column("status", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("status_reason", sa.String(length=255), nullable=True),
        sa.Column("status_message", _TEXT, nullable=True),
        sa.Column("last_applied_revision", sa.String(length=255), nullable=True),
        sa.Column("last_attempted_revision", sa.String(length=255), nullable=True),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("last_status_update_at", sa.Double(), nullable=True),
        sa.Column("last_applied_at", sa.Double(), nullable=True),
        sa.Column("last_attempted_at", sa.Double(), nullable=True),
        *_ages(deleted=True),
        sa.Column("cluster", sa.String(length=63), server_default="", nullable=False),
        *_keys(table, "type", "cluster", "namespace", "name"),
        *(
            sa.ForeignKeyConstraint(
                [f"{parent}_id"],
                [f"{plural}.id"],
                name=op.f(f"fk_{table}_{parent}_id"),
                ondelete="CASCADE",
            )
            for parent, plural in (("environment", "environments"), ("repository", "repositories"))
        ),
    ]


def _steps() -> list[Any]:
    return [
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("step", sa.String(length=63), nullable=False),
        sa.Column("parent_step", sa.String(length=63), nullable=True),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("progress", sa.Integer(), server_default="0", nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.Column("error_stack", _TEXT, nullable=True),
        sa.Column("metadata", _TEXT, nullable=True),
        *_ages(),
        sa.Column("display_name_en", sa.String(length=255), server_default="", nullable=False),
        *_keys("project_initialization_steps", "step"),
    ]


def _flux_installs() -> list[Any]:
    return [
        sa.Column("cluster", sa.String(length=63), nullable=False),
        sa.Column("resource", sa.String(length=63), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("objects", _TEXT, nullable=False),
        *_ages(),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_flux_installs")),
    ]


def _ages(*, deleted: bool = False) -> list[Any]:
    names = (*(("deleted_at",) if deleted else ()), "created_at", "updated_at")
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _keys(table: str, *unique: str) -> list[Any]:
    """Primary key, the project that a row is of, and what tells its rows apart."""
    project = sa.ForeignKeyConstraint(
        ["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id"), ondelete="CASCADE"
    )
    primary = sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))
    key = sa.UniqueConstraint("project_id", *unique, name=op.f(f"uq_{table}_project_id_{'_'.join(unique)}"))
    return [project, primary, key]
