"""The rows of one pair: its state, its upgrades with their steps, how its rsync was, what was synchronized.

Called by the steps, by `monitor`, by `looking` (which may only read) and by `operating`. Every method that writes is a
transaction of its own, or part of one that is open. Of configuration there are only checksums here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, Unpack

from reconciler.kind import Records
from reconciler.kinds.node_pair import showing
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, Role
from reconciler.kinds.node_pair.states import FIRST, Event, PairState, after
from reconciler.kinds.node_pair.step_names import name_of

if TYPE_CHECKING:
    from reconciler.kinds.node_pair.syncing import Synced

RsyncStatus = Literal["RUNNING", "STOPPED", "UNKNOWN"]
StepEnd = Literal["DONE", "FAILED", "SKIPPED"]
UpgradeEnd = Literal["SUCCESS", "PARTIAL", "ROLLED_BACK", "FAILED"]
Participant = Literal["MANAGER", "COORDINATOR", "MASTER", "BACKUP", "STORE"]

KEPT_STATUSES = 1000
KEPT_FILES = 1000
_SELDOM = 100
_ADDRESS_LENGTH = 50
_MESSAGE_LENGTH = 4000


class Standing(TypedDict):
    """How rsync stands on a node beside running or not. Times in seconds since the epoch."""

    paused: bool
    pause_time: float | None
    resume_time: float | None
    reason: Literal["UPGRADE", "MANUAL"] | None
    detail: NotRequired[str]


class PairRows:
    """What is recorded of one pair. now: seconds since the epoch."""

    def __init__(self, records: Records, pair: str, now: Callable[[], float]) -> None:
        self._records = records
        self._pair = pair
        self._now = now

    def is_known(self) -> bool:
        """Whether there is a row that says that we look after this pair."""
        return self._row(self._records) is not None

    def ensure(self, spec: NodePairSpec) -> None:
        """Make the pair's row, or bring it to what the spec says. Writes nothing when it says so already."""
        wanted: dict[str, Any] = {f"{role}_address": spec.nodes[role].address for role in ROLES}
        wanted["sync_interval"] = spec.rsync.interval if spec.rsync is not None else None
        row = self._row(self._records)
        if row is None or any(row[name] != value for name, value in wanted.items()):
            with self._writing() as records:
                self._note(records, wanted)

    def forget(self) -> None:
        """We look after this pair no more. What was done to it stays recorded."""
        with self._writing() as records:
            for table in ("node_pairs", "rsync_status_record", "pair_transitions"):
                records.delete(table, pair=self._pair)

    def state(self) -> PairState:
        """Where it stands."""
        row = self._row(self._records)
        return PairState(row["state"]) if row is not None else FIRST

    def wait_reason(self) -> str:
        """Why it waits for a person, "" when it does not."""
        row = self._row(self._records)
        return (row["wait_reason"] or "") if row is not None else ""

    def move(self, event: Event, why: str, upgrade_id: int | None = None) -> PairState:
        """Record what happened and where that leads; the new state. why: for people.

        The event that came last, once more for the same upgrade, changes nothing: a step may run again.
        Raises TerminalError("NoSuchTransition").
        """
        with self._writing() as records:
            row, passed = self._row(records), records.list("pair_transitions", pair=self._pair)
            state = PairState(row["state"]) if row is not None else FIRST
            if passed and upgrade_id is not None:
                last = max(passed, key=lambda one: one["sequence"])
                if (last["event"], last["upgrade_id"], last["target"]) == (event, upgrade_id, state):
                    return state
            target = after(state, event)
            key = {"pair": self._pair, "sequence": max((one["sequence"] for one in passed), default=0) + 1}
            told = {"source": state.value, "event": event.value, "target": target.value, "why": why}
            records.put("pair_transitions", key, {**told, "upgrade_id": upgrade_id, "at": self._now()})
            waits = why if target is PairState.WAIT_MANUAL else None
            self._note(records, {"state": target.value, "wait_reason": waits})
            return target

    def begin_upgrade(self, run: str, versions: Mapping[Role, str], version: str, steps: Sequence[str]) -> int:
        """The id of the upgrade with this identity, recorded with its steps unless it is. versions: before it."""
        now = self._now()
        with self._writing() as records:
            known = records.get("upgrade_history", identity=run)
            if known is not None:
                return int(known["upgrade_id"])
            before = {f"{role}_version": versions.get(role, "") for role in ROLES}
            values = {"pair": self._pair, "version": version, "started_at": now, **before}
            records.put("upgrade_history", {"identity": run}, values)
            made = records.get("upgrade_history", identity=run)
            assert made is not None
            upgrade_id = int(made["upgrade_id"])
            for sequence, step in enumerate(steps, 1):
                records.put("upgrade_progress", _key(upgrade_id, step), _step(step, sequence))
            self._note(records, {"upgrade_id": upgrade_id})
            return upgrade_id

    def step_began(self, upgrade_id: int, step: str) -> None:
        """A step runs now, perhaps once more. One that was not foreseen is added at the end."""
        self._tell_step(upgrade_id, step, {"status": "RUNNING", "started_at": self._now(), "ended_at": None})

    def step_ended(self, upgrade_id: int, step: str, status: StepEnd, message: str = "") -> None:
        """A step is over."""
        told = {"status": status, "ended_at": self._now(), "message": message[-_MESSAGE_LENGTH:] or None}
        self._tell_step(upgrade_id, step, told)

    def end_upgrade(self, upgrade_id: int, status: UpgradeEnd, message: str) -> None:
        """An upgrade is over. Its steps that never ran are skipped."""
        told = {"status": status, "message": message[-_MESSAGE_LENGTH:] or None, "ended_at": self._now()}
        with self._writing() as records:
            records.put("upgrade_history", {"upgrade_id": upgrade_id}, told)
            for row in records.list("upgrade_progress", upgrade_id=upgrade_id, status="PENDING"):
                records.put("upgrade_progress", {"id": row["id"]}, {"status": "SKIPPED"})
            self._note(records, {})

    def note_rsync(self, role: Role, address: str, status: RsyncStatus, **standing: Unpack[Standing]) -> None:
        """Record how rsync is on a node. Now and then the oldest records are let go."""
        now = self._now()
        columns = {
            "node_ip": address[:_ADDRESS_LENGTH],
            "service_status": status,
            "is_paused": int(standing["paused"]),
            "pause_time": standing["pause_time"],
            "resume_time": standing["resume_time"],
            "paused_reason": standing["reason"],
            "created_at": now,
        }
        with self._writing() as records:
            key = {"pair": self._pair, "node_type": role.upper(), "check_time": now}
            records.put("rsync_status_record", key, columns)
            row = self._row(records)
            noted = (row["noted"] if row is not None else 0) + 1
            newest = {**showing.rsync_of(row), role: _newest(status, standing, now)}
            self._note(records, {"rsync": json.dumps(newest, ensure_ascii=False), "noted": noted})
            if noted % _SELDOM == 0:
                self._let_go_of_old(records)

    def note_look(self, looked: Mapping[str, Any], at: float) -> None:
        """Keep what a look saw beside rsync, for people. looked: plain values."""
        with self._writing() as records:
            self._note(records, {"looked": json.dumps(looked, ensure_ascii=False, sort_keys=True), "looked_at": at})

    def note_sync(self, upgrade_id: int | None, addresses: tuple[str, str], synced: Synced) -> int:
        """Record a synchronization; its id. addresses: source and target. upgrade_id: None when a person ran it."""
        failed = [one for one in synced.files if one.status == "failed"]
        source, target = (address[:_ADDRESS_LENGTH] for address in addresses)
        columns = {
            "upgrade_id": upgrade_id,
            "from_node_ip": source,
            "to_node_ip": target,
            "sync_duration_seconds": round(synced.duration),
            "sync_status": synced.status,
            "files_synced": len(synced.files) - len(failed),
            "files_failed": len(failed),
            "checksum_before": synced.checksum_before,
            "checksum_after": synced.checksum_after,
            "error_message": synced.error[-_MESSAGE_LENGTH:] or None,
            "created_at": self._now(),
        }
        with self._writing() as records:
            key = {"pair": self._pair, "sync_time": synced.started_at}
            records.put("config_sync_record", key, columns)
            made = records.get("config_sync_record", **key)
            assert made is not None
            sync_id = int(made["sync_id"])
            for one in synced.files[:KEPT_FILES]:
                told = {"action": one.action, "status": one.status}
                records.put("config_sync_file", {"sync_id": sync_id, "path": one.path}, told)
            self._note(records, {"sync_id": sync_id})
            return sync_id

    def said(self, upgrade_id: int, sender: Participant, receiver: Participant, text: str) -> None:
        """One message of an upgrade, in the order in which they are sent."""
        with self._writing() as records:
            sequence = len(records.list("upgrade_messages", upgrade_id=upgrade_id)) + 1
            told = {"sender": sender, "receiver": receiver, "text": text, "at": self._now()}
            records.put("upgrade_messages", {"upgrade_id": upgrade_id, "sequence": sequence}, told)

    def baseline(self) -> Mapping[Role, Mapping[str, str]]:
        """Checksums by path that both nodes had after the last good comparison or write; nothing while none is kept."""
        row = self._row(self._records)
        found: dict[Role, Mapping[str, str]] = json.loads(row["baseline"]) if row and row["baseline"] else {}
        return found

    def keep_baseline(self, sums: Mapping[Role, Mapping[str, str]]) -> None:
        """From now on, what differs from these checksums was changed by somebody."""
        kept = {role: dict(sums[role]) for role in ROLES if role in sums}
        with self._writing() as records:
            self._note(records, {"baseline": json.dumps(kept, sort_keys=True), "baseline_at": self._now()})

    def open_upgrade(self) -> Mapping[str, Any] | None:
        """The row of the upgrade that is not over, if there is one."""
        found = self._records.list("upgrade_history", pair=self._pair, status="RUNNING")
        return found[-1] if found else None

    def history(self, limit: int = 10) -> list[dict[str, Any]]:
        """The newest synchronizations, newest first: see `showing.history`."""
        return showing.history(self._records, self._pair, limit)

    def status(self) -> Mapping[str, Any]:
        """All that people are told of the pair: see `showing.status`."""
        row = self._row(self._records)
        return showing.status(self._records, row) if row is not None else {}

    def _tell_step(self, upgrade_id: int, step: str, told: Mapping[str, Any]) -> None:
        with self._writing() as records:
            key = _key(upgrade_id, step)
            if records.get("upgrade_progress", **key) is None:
                sequence = len(records.list("upgrade_progress", upgrade_id=upgrade_id)) + 1
                records.put("upgrade_progress", key, _step(step, sequence))
            records.put("upgrade_progress", key, told)
            self._note(records, {})

    def _let_go_of_old(self, records: Records) -> None:
        for row in records.list("rsync_status_record", pair=self._pair)[:-KEPT_STATUSES]:
            records.delete("rsync_status_record", status_id=row["status_id"])

    def _note(self, records: Records, values: Mapping[str, Any]) -> None:
        """Set columns of the pair's row, and when: pages are made anew by that."""
        now = self._now()
        is_new = self._row(records) is None
        stamps = {"updated_at": now, "created_at": now} if is_new else {"updated_at": now}
        records.put("node_pairs", {"pair": self._pair}, {**stamps, **values})

    def _row(self, records: Records) -> dict[str, Any] | None:
        return records.get("node_pairs", pair=self._pair)

    def _writing(self) -> AbstractContextManager[Records]:
        return self._records.transaction()


def _key(upgrade_id: int, step: str) -> dict[str, Any]:
    return {"upgrade_id": upgrade_id, "step": step}


def _step(step: str, sequence: int) -> dict[str, Any]:
    name = name_of(step)
    return {
        "display_name": name.chinese,
        "display_name_en": name.english,
        "sequence": sequence,
        "status": "PENDING",
    }


def _newest(status: RsyncStatus, standing: Standing, now: float) -> dict[str, Any]:
    return {
        "status": status,
        "paused": standing["paused"],
        "reason": standing["reason"],
        "pauseTime": standing["pause_time"],
        "resumeTime": standing["resume_time"],
        "checkedAt": now,
        "detail": standing.get("detail", ""),
    }
