"""The tables of node pairs. `rsync_status_record`, `config_sync_record`: the document's columns first, for its readers.

Only this kind writes them, through `Records`. Every time, whatever its column is called, is seconds since the epoch.
What the document gives a default has it in the database, so that whoever writes a row by SQL names only what is wanted.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from reconciler.store.tables import NAMING, LongText, Serial

metadata = MetaData(naming_convention=NAMING)


class Now(FunctionElement[float]):
    """The database's clock as a default of a column."""

    type = Double()
    inherit_cache = True


@compiles(Now)
def _elsewhere(_element: Now, _compiler: Any, **_options: Any) -> str:
    return "(unix_timestamp(now(6)))"


@compiles(Now, "sqlite")
def _sqlite(_element: Now, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def _one_of(table: str, column: str, *allowed: str | int) -> CheckConstraint:
    """A column with a fixed set of values."""
    values = ", ".join(repr(one) for one in allowed)
    return CheckConstraint(f"{column} IN ({values})", name=f"ck_{table}_{column}")


def _pair() -> Column[str]:
    return Column("pair", String(63), nullable=False, server_default="", doc="name of its resource")


node_pairs = Table(
    "node_pairs",
    metadata,
    Column("pair", String(63), primary_key=True, doc="name of its resource"),
    Column("state", String(20), nullable=False, server_default="RSYNC_RUNNING", doc="see states.PairState"),
    Column("wait_reason", LongText, doc="why it waits for a person, NULL when it does not"),
    Column("master_address", String(255), nullable=False, server_default=""),
    Column("backup_address", String(255), nullable=False, server_default=""),
    Column("sync_interval", Double, doc="seconds between two synchronizations of its own; NULL without rsync"),
    Column("baseline", LongText, doc="JSON: {role: {path: sha256}} when both were last known to be as they should"),
    Column("baseline_at", Double),
    Column("rsync", LongText, doc="JSON: {role: what was last seen of its rsync}"),
    Column("looked", LongText, doc="JSON: what the last look saw beside that: versions, serving, locked, errors"),
    Column("looked_at", Double),
    Column("noted", Integer, nullable=False, server_default="0", doc="how often its rsync was recorded so far"),
    Column("upgrade_id", Serial, doc="its newest upgrade"),
    Column("sync_id", Serial, doc="its newest synchronization"),
    Column("created_at", Double),
    Column("updated_at", Double, doc="moves with every write about the pair, in whichever table: pages go by it"),
)

pair_transitions = Table(
    "pair_transitions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("pair", String(63), nullable=False),
    Column("sequence", Integer, nullable=False, doc="counts the pair's transitions from 1"),
    Column("upgrade_id", Serial, ForeignKey("upgrade_history.upgrade_id")),
    Column("source", String(20), nullable=False),
    Column("event", String(20), nullable=False, doc="see states.Event"),
    Column("target", String(20), nullable=False),
    Column("why", LongText, nullable=False),
    Column("at", Double, nullable=False),
    UniqueConstraint("pair", "sequence"),
)

upgrade_history = Table(
    "upgrade_history",
    metadata,
    Column("upgrade_id", Serial, primary_key=True, autoincrement=True),
    Column("identity", String(12), nullable=False, doc="names its commands on the nodes"),
    _pair(),
    Column("version", String(100), nullable=False, doc="the wanted one"),
    Column("master_version", String(100), nullable=False, server_default="", doc="what the master ran before"),
    Column("backup_version", String(100), nullable=False, server_default=""),
    Column("status", String(20), nullable=False, server_default="RUNNING"),
    Column("message", LongText),
    Column("started_at", Double, nullable=False, server_default=Now()),
    Column("ended_at", Double),
    _one_of("upgrade_history", "status", "RUNNING", "SUCCESS", "PARTIAL", "ROLLED_BACK", "FAILED"),
    UniqueConstraint("identity"),
)
Index("ix_upgrade_history_pair", upgrade_history.c.pair)

upgrade_progress = Table(
    "upgrade_progress",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("upgrade_id", Serial, ForeignKey("upgrade_history.upgrade_id", ondelete="CASCADE"), nullable=False),
    Column("step", String(63), nullable=False),
    Column("display_name", String(255), nullable=False, doc="in Chinese"),
    Column("display_name_en", String(255), nullable=False, server_default=""),
    Column("sequence", Integer, nullable=False),
    Column("status", String(20), nullable=False, server_default="PENDING"),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("message", LongText),
    _one_of("upgrade_progress", "status", "PENDING", "RUNNING", "DONE", "FAILED", "SKIPPED"),
    UniqueConstraint("upgrade_id", "step"),
)

upgrade_messages = Table(
    "upgrade_messages",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("upgrade_id", Serial, ForeignKey("upgrade_history.upgrade_id", ondelete="CASCADE"), nullable=False),
    Column("sequence", Integer, nullable=False, doc="counts the upgrade's messages from 1"),
    Column("sender", String(20), nullable=False),
    Column("receiver", String(20), nullable=False),
    Column("text", LongText, nullable=False),
    Column("at", Double, nullable=False),
    _one_of("upgrade_messages", "sender", "MANAGER", "COORDINATOR", "MASTER", "BACKUP", "STORE"),
    _one_of("upgrade_messages", "receiver", "MANAGER", "COORDINATOR", "MASTER", "BACKUP", "STORE"),
    UniqueConstraint("upgrade_id", "sequence"),
)

rsync_status_record = Table(
    "rsync_status_record",
    metadata,
    Column("status_id", Serial, primary_key=True, autoincrement=True),
    Column("node_type", String(10), nullable=False),
    Column("node_ip", String(50), nullable=False, doc="its address, cut to this length"),
    Column("service_status", String(20), nullable=False),
    Column("is_paused", SmallInteger, nullable=False, server_default="0", doc="0, 1"),
    Column("pause_time", Double),
    Column("resume_time", Double),
    Column("paused_reason", String(200)),
    Column("check_time", Double, nullable=False, server_default=Now()),
    Column("created_at", Double, nullable=False, server_default=Now()),
    _pair(),
    _one_of("rsync_status_record", "node_type", "MASTER", "BACKUP"),
    _one_of("rsync_status_record", "service_status", "RUNNING", "STOPPED", "UNKNOWN"),
    _one_of("rsync_status_record", "is_paused", 0, 1),
    _one_of("rsync_status_record", "paused_reason", "UPGRADE", "MANUAL"),
)
Index("ix_rsync_status_record_pair", rsync_status_record.c.pair)

config_sync_record = Table(
    "config_sync_record",
    metadata,
    Column("sync_id", Serial, primary_key=True, autoincrement=True),
    Column("upgrade_id", Serial, ForeignKey("upgrade_history.upgrade_id"), doc="NULL for one that a person ran"),
    Column("from_node_ip", String(50), nullable=False, doc="address of the source, cut to this length"),
    Column("to_node_ip", String(50), nullable=False),
    Column("sync_time", Double, nullable=False),
    Column("sync_duration_seconds", Integer, doc="whole seconds, rounded"),
    Column("sync_status", String(20), nullable=False),
    Column("files_synced", Integer),
    Column("files_failed", Integer),
    Column("checksum_before", String(64), nullable=False, doc="of the source"),
    Column("checksum_after", String(64), nullable=False, doc="of the target; zeros when it could not be asked"),
    Column("error_message", LongText),
    Column("created_at", Double, nullable=False, server_default=Now()),
    _pair(),
    _one_of("config_sync_record", "sync_status", "SUCCESS", "FAILED", "PARTIAL", "TIMEOUT"),
)
Index("ix_config_sync_record_pair", config_sync_record.c.pair)

config_sync_file = Table(
    "config_sync_file",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("sync_id", Serial, ForeignKey("config_sync_record.sync_id", ondelete="CASCADE"), nullable=False),
    Column("path", LongText, nullable=False),
    Column("action", String(20), nullable=False),
    Column("status", String(20), nullable=False),
)
Index("ix_config_sync_file_sync_id", config_sync_file.c.sync_id)
