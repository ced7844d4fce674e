"""The tables of projects. Columns of the predecessor first, so that its rows can be taken over and its readers work.

Only this kind writes them, through `Records`. Ids are UUIDs; a project's is the one in the names of its objects. Times
are seconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, ForeignKey, Integer, MetaData, SmallInteger, String, Table, UniqueConstraint

from reconciler.store.tables import NAMING, LongText

metadata = MetaData(naming_convention=NAMING)


def _project_id() -> Column[str]:
    return Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), nullable=False)


projects = Table(
    "projects",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("organization_id", String(36), doc="as taken over"),
    Column("name", String(255), nullable=False),
    Column("slug", String(255), nullable=False),
    Column("description", LongText),
    Column("logo_url", LongText, doc="as taken over"),
    Column("visibility", String(16), nullable=False, server_default="private", doc="private, internal, public"),
    Column(
        "status",
        String(16),
        nullable=False,
        server_default="active",
        doc="initializing, active, failed, deleting; inactive, archived, partial as taken over",
    ),
    Column("initialization_job_id", String(255), doc="as taken over"),
    Column("initialization_started_at", Double),
    Column("initialization_completed_at", Double),
    Column("initialization_error", LongText),
    Column("template_id", String(36), doc="as taken over"),
    Column("template_config", LongText, doc="JSON: what was last pushed of a template"),
    Column("health_score", Integer, doc="as taken over"),
    Column("health_status", String(16), doc="as taken over"),
    Column("last_health_check", Double, doc="as taken over"),
    Column("config", LongText, doc="JSON, as taken over"),
    Column("deleted_at", Double, doc="as taken over"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("resource", String(63), doc="name of its resource; NULL for a row that no document has claimed"),
    Column("cluster", String(63), nullable=False, server_default=""),
    Column("namespace", String(63), nullable=False, server_default="", doc="of its Flux objects, with the id in it"),
    Column("progress", Integer, nullable=False, server_default="0", doc="percent of its initialization; never falls"),
    Column("inventory", LongText, doc="JSON: every object that we may have made: {cluster, kind, namespace, name}"),
    UniqueConstraint("resource"),
)

environments = Table(
    "environments",
    metadata,
    Column("id", String(36), primary_key=True),
    _project_id(),
    Column("name", String(255), nullable=False),
    Column("type", String(16), nullable=False, doc="development, staging, production, testing"),
    Column("description", LongText),
    Column("status", String(16), nullable=False, server_default="active", doc="active, inactive, error"),
    Column("health_check_url", LongText, doc="as taken over"),
    Column("config", LongText, doc="JSON: {approvalRequired, minApprovals, …}"),
    Column("permissions", LongText, doc="JSON, as taken over"),
    Column("deleted_at", Double, doc="as taken over"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("slug", String(63), nullable=False, server_default=""),
    Column("sequence", Integer, nullable=False, server_default="0"),
    Column("cluster", String(63), nullable=False, server_default=""),
    Column("namespace", String(63), nullable=False, server_default="", doc="that it is put into; '' as its files say"),
    Column("path", String(512), nullable=False, server_default=""),
    UniqueConstraint("project_id", "name"),
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", String(36), primary_key=True),
    _project_id(),
    Column("provider", String(16), nullable=False, doc="github, gitlab, generic"),
    Column("full_name", String(255), nullable=False),
    Column("clone_url", String(1024), nullable=False),
    Column("default_branch", String(255), nullable=False, server_default="main"),
    Column("last_sync_at", Double),
    Column("status", String(16), nullable=False, server_default="pending", doc="pending, syncing, success, failed"),
    Column("gitops_config", LongText, doc="JSON, as taken over"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("created_by_us", SmallInteger, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "full_name"),
)

gitops_resources = Table(
    "gitops_resources",
    metadata,
    Column("id", String(36), primary_key=True),
    _project_id(),
    Column("environment_id", String(36), ForeignKey("environments.id", ondelete="CASCADE")),
    Column("repository_id", String(36), ForeignKey("repositories.id", ondelete="CASCADE")),
    Column("type", String(16), nullable=False, doc="git-repository, kustomization; helm, helm-release as taken over"),
    Column("name", String(253), nullable=False),
    Column("namespace", String(63), nullable=False),
    Column("config", LongText, doc="JSON"),
    Column("status", String(16), nullable=False, server_default="pending", doc="pending, ready, reconciling, failed"),
    Column("status_reason", String(255)),
    Column("status_message", LongText),
    Column("last_applied_revision", String(255)),
    Column("last_attempted_revision", String(255)),
    Column("error_message", LongText),
    Column("last_status_update_at", Double),
    Column("last_applied_at", Double),
    Column("last_attempted_at", Double),
    Column("deleted_at", Double, doc="as taken over"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("cluster", String(63), nullable=False, server_default=""),
    # what tells them apart has no NULL in it, so that it also holds for those of no environment
    UniqueConstraint("project_id", "type", "cluster", "namespace", "name"),
)

project_initialization_steps = Table(
    "project_initialization_steps",
    metadata,
    Column("id", String(36), primary_key=True),
    _project_id(),
    Column("step", String(63), nullable=False),
    Column("parent_step", String(63), doc="as taken over"),
    Column("display_name", String(255), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("status", String(16), nullable=False, server_default="pending", doc="pending, running, completed, failed"),
    Column("progress", Integer, nullable=False, server_default="0", doc="percent; never falls"),
    Column("started_at", Double),
    Column("completed_at", Double),
    Column("duration", Integer, doc="milliseconds"),
    Column("error", LongText),
    Column("error_stack", LongText, doc="as taken over"),
    Column("metadata", LongText, doc="JSON: {made}: full name of the repository that create_repository made"),
    Column("created_at", Double),
    Column("updated_at", Double),
    Column("display_name_en", String(255), nullable=False, server_default=""),
    UniqueConstraint("project_id", "step"),
)

flux_installs = Table(
    "flux_installs",
    metadata,
    Column("cluster", String(63), primary_key=True),
    Column("resource", String(63), nullable=False, doc="the project whose manifest it is"),
    Column("manifest_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False, doc="applying, installed"),
    Column("objects", LongText, nullable=False, doc="JSON: all that was applied: {apiVersion, kind, namespace, name}"),
    Column("created_at", Double),
    Column("updated_at", Double),
)
