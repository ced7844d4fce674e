"""What the rows of pairs say, for people: the command line, the API and the page. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.kind import Records
from reconciler.kinds.node_pair.spec import ROLES
from reconciler.kinds.node_pair.states import PairState, chinese_name, english_name

Json = dict[str, Any]
Row = Mapping[str, Any]


def facts(records: Records) -> dict[str, Json]:
    """By resource, `status` of each pair."""
    return {row["pair"]: status(records, row) for row in records.list("node_pairs")}


def status(records: Records, row: Row) -> Json:
    """All that is known of a pair without looking. Times in seconds since the epoch, None for what never was.

    `{pair, state, stateName, displayName, waitReason, todo, interval, nodes: {role: {address, version, serving, locked,
    error, rsync}}, lookedAt, lastSync, upgrade}`; rsync: `{status, paused, reason, pauseTime, resumeTime, checkedAt,
    detail}`, None while nothing is recorded of it.
    """
    state, sync = PairState(row["state"]), _newest_sync(records, row)
    return {
        "pair": row["pair"],
        "state": state.value,
        "stateName": english_name(state),
        "displayName": chinese_name(state),
        "waitReason": row["wait_reason"] or "",
        "todo": _todo(row, state),
        "interval": row["sync_interval"],
        "lastSyncTime": sync["startedAt"] if sync is not None else None,
        "lookedAt": row["looked_at"],
        "nodes": {role: _node(row, role) for role in ROLES},
        "lastSync": sync,
        "upgrade": _newest_upgrade(records, row),
    }


def history(records: Records, pair: str, limit: int) -> list[Json]:
    """The newest synchronizations, newest first, each with its files."""
    rows = sorted(records.list("config_sync_record", pair=pair), key=lambda row: (row["sync_time"], row["sync_id"]))
    return [_sync(records, row) for row in reversed(rows[-limit:] if limit > 0 else ())]


def rsync_of(row: Row | None) -> dict[str, Json]:
    """By role, how rsync was when it was recorded last."""
    found: dict[str, Json] = json.loads(row["rsync"]) if row is not None and row["rsync"] else {}
    return found


def _node(row: Row, role: str) -> Json:
    looked = json.loads(row["looked"]) if row["looked"] else {}
    return {
        "address": row[f"{role}_address"],
        "version": looked.get("versions", {}).get(role, ""),
        "serving": looked.get("serving", {}).get(role),
        "locked": looked.get("locked", {}).get(role, []),
        "error": looked.get("errors", {}).get(role, ""),
        "rsync": rsync_of(row).get(role),
    }


def _todo(row: Row, state: PairState) -> list[Json]:
    """What a person has to do, each with what to type; nothing when nobody waits for one."""
    resolve = f"reconciler rsync resolve {row['pair']} --keep"
    if state is not PairState.WAIT_MANUAL:
        return []
    return [
        {"text": "the master's configuration is the right one", "command": f"{resolve} master"},
        {"text": "the backup's configuration is the right one", "command": f"{resolve} backup"},
    ]


def _newest_upgrade(records: Records, row: Row) -> Json | None:
    upgrade = records.get("upgrade_history", upgrade_id=row["upgrade_id"]) if row["upgrade_id"] is not None else None
    if upgrade is None:
        return None
    steps = records.list("upgrade_progress", upgrade_id=upgrade["upgrade_id"])
    return {
        "id": upgrade["upgrade_id"],
        "run": upgrade["identity"],
        "version": upgrade["version"],
        "from": {role: upgrade[f"{role}_version"] for role in ROLES},
        "status": upgrade["status"],
        "message": upgrade["message"] or "",
        "startedAt": upgrade["started_at"],
        "endedAt": upgrade["ended_at"],
        "steps": [_step(step) for step in sorted(steps, key=lambda step: step["sequence"])],
    }


def _step(row: Row) -> Json:
    return {
        "step": row["step"],
        "name": row["display_name_en"] or row["display_name"],
        "displayName": row["display_name"],
        "status": row["status"],
        "startedAt": row["started_at"],
        "endedAt": row["ended_at"],
        "message": row["message"] or "",
    }


def _newest_sync(records: Records, row: Row) -> Json | None:
    found = records.get("config_sync_record", sync_id=row["sync_id"]) if row["sync_id"] is not None else None
    return _sync(records, found) if found is not None else None


def _sync(records: Records, row: Row) -> Json:
    files = records.list("config_sync_file", sync_id=row["sync_id"])
    return {
        "id": row["sync_id"],
        "upgradeId": row["upgrade_id"],
        "from": row["from_node_ip"],
        "to": row["to_node_ip"],
        "startedAt": row["sync_time"],
        "duration": row["sync_duration_seconds"],
        "status": row["sync_status"],
        "filesSynced": row["files_synced"],
        "filesFailed": row["files_failed"],
        "files": [{name: one[name] for name in ("path", "action", "status")} for one in files],
        "checksumBefore": row["checksum_before"],
        "checksumAfter": row["checksum_after"],
        "error": row["error_message"] or "",
    }
