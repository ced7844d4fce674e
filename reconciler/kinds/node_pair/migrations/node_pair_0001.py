"""The tables of node pairs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "node_pair_0001"
down_revision = None
branch_labels = ("node_pair",)
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(length=4294967295), "mysql", "mariadb")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(length=63)
_ADDRESS = sa.String(length=255)
_WORD = sa.String(length=20)
_VERSION = sa.String(length=100)
_PARTICIPANTS = ("MANAGER", "COORDINATOR", "MASTER", "BACKUP", "STORE")
_CLOCKS = {"sqlite": "((julianday('now') - 2440587.5) * 86400.0)"}
_ELSEWHERE = "(unix_timestamp(now(6)))"


def upgrade() -> None:
    _make("upgrade_history", "upgrade_id", _upgrade_history())
    _make("upgrade_progress", "id", _upgrade_progress())
    _make("upgrade_messages", "id", _upgrade_messages())
    _make("pair_transitions", "id", _pair_transitions())
    _make("rsync_status_record", "status_id", _rsync_status_record())
    _make("config_sync_record", "sync_id", _config_sync_record())
    _make("config_sync_file", "id", _config_sync_file())
    op.create_table("node_pairs", *_node_pairs())
    for table, column in (
        ("upgrade_history", "pair"),
        ("rsync_status_record", "pair"),
        ("config_sync_record", "pair"),
        ("config_sync_file", "sync_id"),
    ):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _make(table: str, key: str, rest: Sequence[Any]) -> None:
    """A table whose rows are counted."""
    number = sa.Column(key, _SERIAL, autoincrement=True, nullable=False)
    op.create_table(table, number, *rest, sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")))


def _node_pairs() -> list[Any]:
    return [
        sa.Column("pair", _NAME, nullable=False),
        sa.Column("state", _WORD, server_default="RSYNC_RUNNING", nullable=False),
        sa.Column("wait_reason", _TEXT, nullable=True),
        sa.Column("master_address", _ADDRESS, server_default="", nullable=False),
        sa.Column("backup_address", _ADDRESS, server_default="", nullable=False),
        sa.Column("sync_interval", sa.Double(), nullable=True),
        sa.Column("baseline", _TEXT, nullable=True),
        sa.Column("baseline_at", sa.Double(), nullable=True),
        sa.Column("rsync", _TEXT, nullable=True),
        sa.Column("looked", _TEXT, nullable=True),
        *_times("looked_at"),
        sa.Column("noted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("upgrade_id", _SERIAL, nullable=True),
        sa.Column("sync_id", _SERIAL, nullable=True),
        *_times("created_at", "updated_at"),
        sa.PrimaryKeyConstraint("pair", name=op.f("pk_node_pairs")),
    ]


def _pair_transitions() -> list[Any]:
    return [
        sa.Column("pair", _NAME, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("upgrade_id", _SERIAL, nullable=True),
        sa.Column("source", _WORD, nullable=False),
        sa.Column("event", _WORD, nullable=False),
        sa.Column("target", _WORD, nullable=False),
        sa.Column("why", _TEXT, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        _refers("pair_transitions", "upgrade_id", "upgrade_history"),
        sa.UniqueConstraint("pair", "sequence", name=op.f("uq_pair_transitions_pair_sequence")),
    ]


def _upgrade_history() -> list[Any]:
    table = "upgrade_history"
    return [
        sa.Column("identity", sa.String(length=12), nullable=False),
        _pair(),
        sa.Column("version", _VERSION, nullable=False),
        sa.Column("master_version", _VERSION, server_default="", nullable=False),
        sa.Column("backup_version", _VERSION, server_default="", nullable=False),
        sa.Column("status", _WORD, server_default="RUNNING", nullable=False),
        sa.Column("message", _TEXT, nullable=True),
        _now("started_at"),
        *_times("ended_at"),
        _one_of(table, "status", "RUNNING", "SUCCESS", "PARTIAL", "ROLLED_BACK", "FAILED"),
        sa.UniqueConstraint("identity", name=op.f("uq_upgrade_history_identity")),
    ]


def _upgrade_progress() -> list[Any]:
    table = "upgrade_progress"
    return [
        sa.Column("upgrade_id", _SERIAL, nullable=False),
        sa.Column("step", _NAME, nullable=False),
        sa.Column("display_name", _ADDRESS, nullable=False),
        sa.Column("display_name_en", _ADDRESS, server_default="", nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("status", _WORD, server_default="PENDING", nullable=False),
        *_times("started_at", "ended_at"),
        sa.Column("message", _TEXT, nullable=True),
        _one_of(table, "status", "PENDING", "RUNNING", "DONE", "FAILED", "SKIPPED"),
        _refers(table, "upgrade_id", "upgrade_history", ondelete="CASCADE"),
        sa.UniqueConstraint("upgrade_id", "step", name=op.f("uq_upgrade_progress_upgrade_id_step")),
    ]


def _upgrade_messages() -> list[Any]:
    table = "upgrade_messages"
    return [
        sa.Column("upgrade_id", _SERIAL, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("sender", _WORD, nullable=False),
        sa.Column("receiver", _WORD, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        _one_of(table, "sender", *_PARTICIPANTS),
        _one_of(table, "receiver", *_PARTICIPANTS),
        _refers(table, "upgrade_id", "upgrade_history", ondelete="CASCADE"),
        sa.UniqueConstraint("upgrade_id", "sequence", name=op.f("uq_upgrade_messages_upgrade_id_sequence")),
    ]


def _rsync_status_record() -> list[Any]:
    table = "rsync_status_record"
    return [
        sa.Column("node_type", sa.String(length=10), nullable=False),
        sa.Column("node_ip", sa.String(length=50), nullable=False),
        sa.Column("service_status", _WORD, nullable=False),
        sa.Column("is_paused", sa.SmallInteger(), server_default="0", nullable=False),
        *_times("pause_time", "resume_time"),
        sa.Column("paused_reason", sa.String(length=200), nullable=True),
        _now("check_time"),
        _now("created_at"),
        _pair(),
        _one_of(table, "node_type", "MASTER", "BACKUP"),
        _one_of(table, "service_status", "RUNNING", "STOPPED", "UNKNOWN"),
        _one_of(table, "is_paused", 0, 1),
        _one_of(table, "paused_reason", "UPGRADE", "MANUAL"),
    ]


def _config_sync_record() -> list[Any]:
    table = "config_sync_record"
    return [
        sa.Column("upgrade_id", _SERIAL, nullable=True),
        sa.Column("from_node_ip", sa.String(length=50), nullable=False),
        sa.Column("to_node_ip", sa.String(length=50), nullable=False),
        sa.Column("sync_time", sa.Double(), nullable=False),
        sa.Column("sync_duration_seconds", sa.Integer(), nullable=True),
        sa.Column("sync_status", _WORD, nullable=False),
        sa.Column("files_synced", sa.Integer(), nullable=True),
        sa.Column("files_failed", sa.Integer(), nullable=True),
        sa.Column("checksum_before", sa.String(length=64), nullable=False),
        sa.Column("checksum_after", sa.String(length=64), nullable=False),
        sa.Column("error_message", _TEXT, nullable=True),
        _now("created_at"),
        _pair(),
        _one_of(table, "sync_status", "SUCCESS", "FAILED", "PARTIAL", "TIMEOUT"),
        _refers(table, "upgrade_id", "upgrade_history"),
    ]


def _config_sync_file() -> list[Any]:
    return [
        sa.Column("sync_id", _SERIAL, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("action", _WORD, nullable=False),
        sa.Column("status", _WORD, nullable=False),
        _refers("config_sync_file", "sync_id", "config_sync_record", ondelete="CASCADE"),
    ]


def _pair() -> sa.Column[str]:
    return sa.Column("pair", _NAME, server_default="", nullable=False)


def _times(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _now(name: str) -> sa.Column[float]:
    """A time that is the database's own when nothing is said."""
    clock = sa.text(_CLOCKS.get(op.get_bind().dialect.name, _ELSEWHERE))
    return sa.Column(name, sa.Double(), server_default=clock, nullable=False)


def _one_of(table: str, column: str, *allowed: str | int) -> sa.CheckConstraint:
    values = ", ".join(repr(one) for one in allowed)
    return sa.CheckConstraint(f"{column} IN ({values})", name=op.f(f"ck_{table}_{column}"))


def _refers(table: str, column: str, parent: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{parent}.{column}"], name=name, ondelete=ondelete)
