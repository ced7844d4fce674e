"""Rows of a pair of nodes as its kind keeps them: what the page and the API show of one."""

from __future__ import annotations

from typing import Any

from filled_store import Filling

from reconciler.kinds.node_pair.rows import PairRows, Standing
from reconciler.kinds.node_pair.rsync_output import SyncedFile
from reconciler.kinds.node_pair.spec import NodePairSpec
from reconciler.kinds.node_pair.states import Event
from reconciler.kinds.node_pair.syncing import Status, Synced
from reconciler.kinds.node_pair.tables import metadata
from reconciler.model.resource import ResourceRef
from reconciler.store import leases
from reconciler.store.kind_records import KindRecords
from reconciler.store.leases import Lease

RUN = "3f2a9c1b7d20"
WAITS = "both nodes differ in /etc/shop/app.conf"
STEPS = (
    "check_nodes",
    "stage",
    "detect_rsync",
    "pause_rsync",
    "back_up_configuration",
    "lock_configuration",
    "install_backup",
    "verify_backup",
    "switch_over",
    "install_master",
    "verify_master",
    "resume_rsync",
    "synchronize",
    "compare",
)
SPEC: dict[str, Any] = {
    "master": {"address": "10.77.0.2"},
    "backup": {"address": "10.77.0.3"},
    "version": "2.0",
    "commands": {"version": "cat /opt/shop/version"},
    "rsync": {"sync": {"module": "shop", "paths": {".": "/etc/shop"}}},
}
_FREE = Standing(paused=False, pause_time=None, resume_time=None, reason=None)


FILES = (SyncedFile("/etc/shop/app.conf", "updated"), SyncedFile("/etc/shop/old.conf", "deleted"))
SUM = "9f" * 32


class PairFilling:
    """A pair that is wanted, and what happens to it. now: moved on by hand."""

    def __init__(self, filling: Filling, name: str = "shop") -> None:
        resource = filling.resource(name, "NodePair", SPEC)
        filling.want(resource)
        self._database = filling.database
        self._lease: Lease = leases.acquire(filling.database, f"NodePair/{name}", filling.owner)
        with filling.database.read() as connection:
            self.now = filling.database.now(connection) - 300
        self.rows = PairRows(KindRecords(filling.database, metadata.tables, self._lease), name, lambda: self.now)
        self.rows.ensure(NodePairSpec.of(resource))
        self.ref = ResourceRef("NodePair", name)

    def looked(self, status: Any = "RUNNING", standing: Standing = _FREE, backup: Any = "RUNNING") -> None:
        """A look at both nodes."""
        self.rows.note_rsync("master", "10.77.0.2", status, **standing)
        standing = standing.copy()
        standing["detail"] = "rsync.service is active"
        self.rows.note_rsync("backup", "10.77.0.3", backup, **standing)
        seen: dict[str, Any] = {"versions": {"master": "1.0", "backup": "2.0"}}
        seen |= {"serving": {"master": True, "backup": False}, "locked": {"backup": ["/etc/shop"]}}
        self.rows.note_look(seen, self.now)

    def upgrade(self, done: int) -> int:
        """An upgrade whose first `done` steps are over, and whose next one runs."""
        started = self.rows.begin_upgrade(RUN, {"master": "1.0", "backup": "1.0"}, "2.0", STEPS)
        self.rows.move(Event.STARTED, "upgrade to 2.0", started)
        for number, step in enumerate(STEPS[: done + 1]):
            self.rows.step_began(started, step)
            self.now += 4 + 3 * number
            if number < done:
                self.rows.step_ended(started, step, "DONE")
        paused = Standing(paused=True, pause_time=self.now - 30, resume_time=None, reason="UPGRADE")
        self.looked("STOPPED", paused, "STOPPED")
        return started

    def wait(self, upgrade: int, reason: str = WAITS) -> None:
        """The upgrade ends in the hands of a person."""
        self.rows.step_ended(upgrade, "compare", "FAILED", reason)
        for event in (Event.UPGRADE_BEGAN, Event.NEEDS_PERSON):
            self.rows.move(event, reason, upgrade)
        self.rows.end_upgrade(upgrade, "PARTIAL", reason)

    def synchronized(self, upgrade: int | None = None, status: Status = "SUCCESS", error: str = "") -> None:
        """A synchronization."""
        self.now += 1
        synced = Synced(status, self.now, 2.2, FILES, SUM, SUM, error)
        self.rows.note_sync(upgrade, ("10.77.0.2", "10.77.0.3"), synced)
