"""`/api/v2/rsync`: the rsync of pairs of nodes, as it was recorded last. Reads only; nobody is asked.

`/api/rsync/…` says the same in the words of the document that asked for it, which are the columns of its tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, request
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest

from web.collection import Json
from web.reading import reading, whole_number
from web.recorded import facts_of, records_of

KIND = "NodePair"
blueprint = Blueprint("rsync", __name__)
_USUAL, _MOST = 10, 1_000


@blueprint.get("/api/v2/rsync/<pair>")
def status(pair: str) -> Json:
    """How the rsync of a pair stands, with its newest upgrade and what waits for a person."""
    with reading() as connection:
        return dict(_found(connection, pair))


@blueprint.get("/api/v2/rsync/<pair>/history")
def history(pair: str) -> Json:
    """`{history}`: its synchronizations, newest first, each with its files."""
    with reading() as connection:
        _found(connection, pair)
        return {"history": _history(connection, pair)}


@blueprint.get("/api/rsync/status")
def older_status() -> Json:
    """How the rsync of both nodes stands, in the words of the tables."""
    with reading() as connection:
        told = _found(connection, _asked(connection))
    return {
        "pair": told["pair"],
        "state": told["state"],
        "last_sync_time": told["lastSyncTime"],
        "sync_interval_seconds": told["interval"],
        "nodes": [_older_node(role, node) for role, node in told["nodes"].items()],
    }


@blueprint.get("/api/rsync/history")
def older_history() -> Json:
    """The last synchronizations, in the words of the tables."""
    with reading() as connection:
        found = _history(connection, _asked(connection))
    return {"history": [_older_sync(one) for one in found]}


def _found(connection: Connection, pair: str) -> Mapping[str, Any]:
    told = facts_of(connection, KIND).get(pair)
    if told is None:
        abort(404, f"nothing is recorded of a pair called {pair[:63]}")
    return told


def _history(connection: Connection, pair: str) -> list[Json]:
    from reconciler.kinds.node_pair import showing  # noqa: PLC0415 - a page without pairs does not need the kind

    limit = max(1, whole_number("limit", _USUAL, _MOST))
    return showing.history(records_of(connection, KIND), pair, limit)


def _asked(connection: Connection) -> str:
    """The pair that a query is about: it may be left out where there is only one."""
    if pair := request.args.get("pair", ""):
        return str(_found(connection, pair)["pair"])
    known = sorted(facts_of(connection, KIND))
    if not known:
        abort(404, "nothing is recorded of any pair")
    if len(known) > 1:
        raise BadRequest(f"say which pair: ?pair={' or '.join(known[:20])}")
    return known[0]


def _older_node(role: str, node: Mapping[str, Any]) -> Json:
    rsync = node["rsync"] or {}
    return {
        "node_type": role.upper(),
        "node_ip": node["address"],
        "service_status": rsync.get("status", "UNKNOWN"),
        "is_paused": rsync.get("paused", False),
        "paused_reason": rsync.get("reason"),
        "pause_time": rsync.get("pauseTime"),
        "resume_time": rsync.get("resumeTime"),
        "check_time": rsync.get("checkedAt"),
    }


def _older_sync(one: Mapping[str, Any]) -> Json:
    return {
        "sync_id": one["id"],
        "upgrade_id": one["upgradeId"],
        "from_node_ip": one["from"],
        "to_node_ip": one["to"],
        "sync_time": one["startedAt"],
        "sync_duration_seconds": one["duration"],
        "sync_status": one["status"],
        "files_synced": one["filesSynced"],
        "files_failed": one["filesFailed"],
        "files": one["files"],
        "checksum_before": one["checksumBefore"],
        "checksum_after": one["checksumAfter"],
        "error_message": one["error"] or None,
    }
