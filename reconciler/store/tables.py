"""The engine's own tables. Kinds declare theirs in their `tables.py` on the same MetaData conventions.

No partial or expression index and no unbounded TEXT key, so that the same schema runs on MariaDB. Times are seconds
since the epoch by the database's clock. JSON is stored as text that we write ourselves.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

LONGTEXT_LENGTH = 2**32 - 1  # MySQL and MariaDB make LONGTEXT of a TEXT this long; their dialect costs 30 ms to import
LongText = Text().with_variant(Text(LONGTEXT_LENGTH), "mysql", "mariadb")
Serial = BigInteger().with_variant(Integer, "sqlite")
KIND = String(63)
NAME = String(63)

resources = Table(
    "resources",
    metadata,
    Column("kind", KIND, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("owner", String(512), nullable=False, doc="file:PATH, git:URL//PATH or api"),
    Column("line", Integer, nullable=False, default=0),
    Column("column", Integer, nullable=False, default=0),
    Column("revision", String(64), nullable=False, default=""),
    Column("labels", LongText, nullable=False),
    Column("lifecycle", LongText, nullable=False),
    Column("spec", LongText, nullable=False, doc="stored form: secrets as keyed digests"),
    Column(
        "needs", LongText, nullable=False, default="[]", doc="Kind/name of dependsOn and of what its kind reads in it"
    ),
    Column("document", LongText, doc="as it was given, for resources that the API or the CLI owns"),
    Column("digest", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("vanished_at", Double, doc="set while no source names it"),
    Column("vanished_why", String(512), nullable=False, default=""),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)
Index("ix_resources_owner", resources.c.owner)

statuses = Table(
    "statuses",
    metadata,
    Column("kind", KIND, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("applied", LongText, doc="the state last applied and verified, normal form"),
    Column("protected", SmallInteger, nullable=False, default=0),
    Column("touched", SmallInteger, nullable=False, default=0),
    Column("ready", String(7), nullable=False, default="Unknown", doc="status of the Ready condition"),
    Column("reason", String(63), nullable=False, default=""),
    Column("message", LongText, nullable=False, default=""),
    Column("observed_generation", Integer, nullable=False, default=0),
    Column("conditions", LongText, nullable=False, default="[]"),
    Column(
        "drift", LongText, nullable=False, default="[]", doc="the differences of the last plan that were not applied"
    ),
    Column("pending", LongText, doc="the change that waits for an approval: {fingerprint, action, why}"),
    Column("failures", Integer, nullable=False, default=0, doc="in a row"),
    Column("last_run", Serial, doc="the run that last changed it"),
    Column("applied_at", Double),
    Column("checked_at", Double, doc="last successful look"),
    Column("requested_at", String(40), nullable=False, default="", doc="token of `reconcile`"),
    Column("handled_at", String(40), nullable=False, default="", doc="lastHandledReconcileAt"),
    Column("suspend_reason", String(512), nullable=False, default=""),
    Column("suspend_by", String(128), nullable=False, default=""),
    Column("suspend_until", Double),
    Column("suspend_since", Double, doc="set while suspended by hand"),
)
Index("ix_statuses_ready", statuses.c.ready)
Index("ix_statuses_requested_at", statuses.c.requested_at)
Index("ix_statuses_suspend_until", statuses.c.suspend_until)

runs = Table(
    "runs",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("actor", String(128), nullable=False, doc="who asked: user@host through cli, daemon, api"),
    Column("trigger", String(32), nullable=False, doc="apply, daemon, delete …"),
    Column("boot_id", String(64), nullable=False, default=""),
    Column("pid", Integer, nullable=False, default=0),
    Column("pid_start", BigInteger, nullable=False, default=0),
    Column("revision", String(64), nullable=False, default=""),
    Column("state", String(16), nullable=False, doc="running, succeeded, partial, failed, interrupted"),
    Column("summary", String(255), nullable=False, default=""),
    Column("plan", LongText, doc="the plan as JSON"),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
)

changes = Table(
    "changes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("run_id", Serial, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", KIND, nullable=False),
    Column("name", NAME, nullable=False),
    Column("action", String(16), nullable=False),
    Column("why", LongText, nullable=False, default=""),
    Column("diffs", LongText, nullable=False, default="[]"),
    Column("fingerprint", String(64), nullable=False, default=""),
    Column("generation", Integer, nullable=False, default=0),
    Column("weight", Integer, nullable=False, default=0, doc="of all its planned steps, begun or not"),
    Column("before_digest", String(64), nullable=False, default="", doc="of the observed state that it started from"),
    Column("after_digest", String(64), nullable=False, default="", doc="of the desired state that it leads to"),
    Column("planned", LongText, doc="the change as JSON, of a kind whose changes are continued after a crash"),
    Column("verdict", String(16), nullable=False, default="", doc="empty while it runs"),
    Column("reason", String(63), nullable=False, default=""),
    Column("message", LongText, nullable=False, default=""),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
)
Index("ix_changes_resource", changes.c.kind, changes.c.name, changes.c.id)
Index("ix_changes_run_id", changes.c.run_id)
Index("ix_changes_verdict", changes.c.verdict)

steps = Table(
    "steps",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("change_id", Serial, ForeignKey("changes.id", ondelete="CASCADE"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("name", String(63), nullable=False),
    Column("title", String(255), nullable=False),
    Column("weight", Integer, nullable=False),
    Column("outcome", String(16), nullable=False, doc="open, done, failed, skipped, unconfirmed"),
    Column("epoch", Integer, nullable=False),
    Column("progress", Double, nullable=False, default=0.0),
    Column("note", String(512), nullable=False, default="", doc="the last progress message"),
    Column("outputs", LongText, nullable=False, default="{}"),
    Column("message", LongText, nullable=False, default=""),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    UniqueConstraint("change_id", "sequence"),
)

step_logs = Table(
    "step_logs",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("step_id", Serial, ForeignKey("steps.id", ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    Column("text", LongText, nullable=False),
)
Index("ix_step_logs_step_id", step_logs.c.step_id)

processes = Table(
    "processes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("lease", String(128), nullable=False),
    Column("step_id", Serial),
    Column("boot_id", String(64), nullable=False),
    Column("pgid", Integer, nullable=False),
    Column("start_time", BigInteger, nullable=False, doc="field 22 of /proc/PID/stat"),
    Column("argv", LongText, nullable=False),
    Column("started_at", Double, nullable=False),
)
Index("ix_processes_lease", processes.c.lease)

leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True, doc="Kind/name, or daemon"),
    Column("owner", String(128), nullable=False, doc="one token a holder, empty when released"),
    Column("holder", String(255), nullable=False, doc="for people: user@host, command"),
    Column("boot_id", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_start", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("acquired_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("type", String(16), nullable=False, doc="normal, warning, alarm"),
    Column("kind", KIND, nullable=False, default=""),
    Column("name", NAME, nullable=False, default=""),
    Column("reason", String(63), nullable=False),
    Column("message", LongText, nullable=False),
    Column("actor", String(128), nullable=False, default=""),
    Column("run_id", Serial),
)
Index("ix_events_resource", events.c.kind, events.c.name, events.c.id)

approvals = Table(
    "approvals",
    metadata,
    Column("kind", KIND, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("actor", String(128), nullable=False),
    Column("at", Double, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("kind", KIND, nullable=False),
    Column("name", NAME, nullable=False),
    Column("action", String(16), nullable=False, doc="create, delete, start, stop, approve …"),
    Column("generation", Integer, nullable=False, doc="of the desired state that it is about"),
    Column("after_change", Serial, nullable=False, doc="the resource's newest change before it, 0 for none"),
    Column("token", String(40), nullable=False, default="", doc="the look that was requested with it"),
    Column("actor", String(128), nullable=False),
    Column("at", Double, nullable=False),
)
Index("ix_tasks_resource", tasks.c.kind, tasks.c.name, tasks.c.id)

consumed_plans = Table(
    "consumed_plans",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("run_id", Serial, ForeignKey("runs.id"), nullable=False),
    Column("at", Double, nullable=False),
)

problems = Table(
    "problems",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("owner", String(512), nullable=False),
    Column("path", String(512), nullable=False),
    Column("line", Integer, nullable=False),
    Column("column", Integer, nullable=False),
    Column("message", LongText, nullable=False),
    Column("kind", KIND, nullable=False, default=""),
    Column("name", NAME, nullable=False, default=""),
    Column("at", Double, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("owner", String(512), primary_key=True, doc="what the owners of its documents begin with"),
    Column("read_at", Double),
    Column("revision", String(64), nullable=False, default=""),
    Column("readable", SmallInteger, nullable=False),
    Column("message", LongText, nullable=False, default="", doc="why what was read may be old"),
    Column("requested_at", String(40), nullable=False, default="", doc="token of `sync`"),
    Column("handled_at", String(40), nullable=False, default="", doc="the token that was answered last"),
)

commits = Table(
    "commits",
    metadata,
    Column("id", String(64), primary_key=True, doc="what `revision` of runs, resources and sources means"),
    Column("author", String(255), nullable=False, default=""),
    Column("subject", String(255), nullable=False, default=""),
    Column("at", Double, nullable=False, default=0.0, doc="as the committer says"),
)
