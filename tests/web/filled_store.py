"""Fills a real database, through the store's own functions, with everything that the page has to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.model.condition import Condition
from reconciler.model.plan import Action, Change, FieldDiff, PlannedStep
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.result import StepOutcome
from reconciler.model.secret import Secret
from reconciler.store import events, journal, leases, remembered, resources, statuses, tables
from reconciler.store.database import Database
from reconciler.store.owners import Owner

KEY = b"k" * 32
HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1> javascript:alert(1) \"'&{{7*7}}"
PASSWORD = "hunter2-never-to-be-seen"
CHINESE = "集群创建失败：端口 8080 已被占用，请检查配置后重试"


class Filling:
    """Writes to a database what daemon and CLI would write. Names are of kind Cluster unless said otherwise."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.owner = Owner.this_process("test")
        self.recording = resources.Recording(KEY, lambda wanted: wanted.lifecycle.depends_on)
        self.wanted: dict[ResourceRef, Resource] = {}

    def want(self, *wanted: Resource) -> None:
        """Add to the desired state of the folder `specs`."""
        self.wanted |= {resource.ref: resource for resource in wanted}
        self.load()

    def load(self) -> None:
        """Store the desired state; what is no longer in it vanishes."""
        with self.database.write() as connection:
            merged = remembered.merge(connection, self.wanted, remembered.Scope(("file:specs/",), revision="0" * 40))
            resources.record(self.database, connection, merged, self.recording)

    def resource(
        self, name: str, kind: str = "Cluster", spec: Mapping[str, Any] | None = None, **values: Any
    ) -> Resource:
        """A resource; `needs`: names of clusters that it depends on."""
        needs = tuple(ResourceRef("Cluster", other) for other in values.pop("needs", ()))
        lifecycle = values.pop("lifecycle", Lifecycle(depends_on=needs))
        source = Source(f"file:specs/{kind.lower()}/{name}.yaml", line=1)
        return Resource(
            ResourceRef(kind, name),
            spec or {"provider": "sandbox", "servers": 1},
            values.pop("labels", {}),
            lifecycle,
            source,
            digest=f"{name:x<64}",
            **values,
        )

    def report(self, name: str, reason: str, *, ready: str = "False", message: str = "", **values: Any) -> None:
        """The outcome of a pass over a cluster; `also`: further conditions that are true."""
        generation = values.pop("generation", 1)
        with self.database.write() as connection:
            now = self.database.now(connection)
            types = [(type_, "True") for type_ in values.pop("also", ())]
            conditions = tuple(
                Condition(type_, status, reason, message, generation, now - 400)
                for type_, status in [("Ready", ready), *types]
            )
            values.setdefault("checked_at", now - 7)
            entry = statuses.StatusUpdate(ResourceRef("Cluster", name), conditions, generation, **values)
            statuses.write(connection, [entry], now)

    def run(self, holder: str = "ann@office (apply, pid 4711)", trigger: str = "apply") -> int:
        """Open a run."""
        start = journal.RunStart(
            replace(self.owner, holder=holder),
            trigger,
            "4f2a9c1d7e" * 4,
            "Plan: 1 to create, 1 to update, 0 to replace",
        )
        with self.database.write() as connection:
            return journal.start_run(self.database, connection, start)

    def change(self, run_id: int, name: str, action: Action, *diffs: FieldDiff) -> tuple[leases.Lease, int]:
        """Open a change of a cluster."""
        ref = ResourceRef("Cluster", name)
        lease = leases.acquire(self.database, str(ref), self.owner)
        wanted = self.wanted.get(ref) or self.resource(name)
        why = "servers differs" if action is Action.UPDATE else "it does not exist"
        return lease, journal.start_change(lease, run_id, Change(ref, action, wanted, why, diffs=diffs))

    def step(self, lease: leases.Lease, change_id: int, sequence: int, title: str, log: str = "") -> int:
        """Open a step."""
        planned = PlannedStep(title.split()[0].lower(), title, 10, "exact")
        step_id = journal.open_step(lease, change_id, sequence, planned)
        if log:
            journal.append_log(lease, step_id, log)
        return step_id

    def end(self, lease: leases.Lease, change_id: int, verdict: str, reason: str, message: str = "") -> None:
        """Close a change."""
        with self.database.write() as connection:
            journal.end_change(connection, change_id, verdict, reason, message, self.database.now(connection))
        lease.release()

    def tell(self, type_: Any, reason: str, message: str, name: str = "", **values: Any) -> None:
        """An event."""
        ref = ResourceRef("Cluster", name) if name else None
        with self.database.write() as connection:
            events.add(connection, self.database.now(connection), [events.Event(type_, reason, message, ref, **values)])

    def daemon(self) -> leases.Lease:
        """Hold the daemon's lease."""
        return leases.acquire(self.database, "daemon", self.owner)

    def backdate(self, table: Any, row_id: int, started: float, ended: float | None) -> None:
        """Move a run, change or step into the past: seconds before now."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            values: dict[str, Any] = {"started_at": now - started}
            if ended is not None:
                values["ended_at"] = now - ended
            connection.execute(table.update().where(table.c.id == row_id).values(values))


def fill(filling: Filling) -> None:
    """Everything at once: one resource of every standing, runs, steps, logs, hostile texts."""
    _desired(filling)
    _statuses(filling)
    _finished_run(filling)
    _failed_run(filling)
    _running(filling)
    filling.daemon()
    filling.tell("normal", "Applied", "3 resources applied", actor="daemon")
    filling.tell("warning", "CreateFailed", CHINESE, "broken", actor="daemon")
    filling.tell("alarm", "RunsWhilePaused", f"rsync runs although it is paused {HOSTILE}", "broken")
    with filling.database.write() as connection:
        now = filling.database.now(connection)
        connection.execute(
            tables.problems.insert().values(
                owner="file:specs/bad.yaml",
                path="specs/bad.yaml",
                line=7,
                column=3,
                at=now,
                message=f"unknown field 'servrs': did you mean 'servers'? {HOSTILE}",
                kind="Cluster",
                name="typo",
            )
        )
        for owner, readable, message in (("directory:specs", 1, ""), ("directory:/mnt/away", 0, "no such directory")):
            row = {
                "owner": owner,
                "read_at": now - 20,
                "revision": "4f2a9c1d7e",
                "readable": readable,
                "message": message,
            }
            connection.execute(tables.sources.insert().values(row))


def _desired(filling: Filling) -> None:
    labels = {"env": "dev", "team": "platform"}
    filling.want(
        filling.resource("devops", labels={"role": "management"}),
        filling.resource("dev", labels=labels, needs=("devops",)),
        filling.resource("staging", labels={"env": "staging"}, needs=("devops",)),
        filling.resource("prod", labels={"env": "prod"}, needs=("staging", "devops")),
        filling.resource("broken", needs=("devops",), spec={"provider": "sandbox", "token": Secret(PASSWORD, "env:T")}),
        filling.resource("typo"),
        filling.resource("faraway"),
        filling.resource("careful", lifecycle=Lifecycle(approval="manual", deletion="protect")),
        filling.resource("holiday"),
        filling.resource("forgotten"),
        filling.resource("left"),
        filling.resource("drifting", lifecycle=Lifecycle(mode="notify")),
        filling.resource("upgrading", needs=("devops",)),
        filling.resource("waiting", needs=("broken", "nowhere")),
        filling.resource("fresh"),
        filling.resource("shop", kind="Project", spec={"environments": ["dev", "prod"]}, needs=("prod", "dev")),
    )
    del filling.wanted[ResourceRef("Cluster", "left")]
    filling.load()


def _statuses(filling: Filling) -> None:
    for name in ("devops", "dev", "staging", "prod"):
        filling.report(name, "Applied", ready="True", message="as desired", applied={"servers": 1})
    filling.report("broken", "CreateFailed", message=f"{CHINESE}\n{HOSTILE}", failures=4)
    filling.report("typo", "InvalidSpec", message="servrs is not a field", also=("Stalled",), failures=1)
    filling.report("faraway", "Unreachable", ready="Unknown", message="host faraway did not answer within 10 s")
    pending = {"fingerprint": "c0ffee" * 10, "action": "update", "why": "servers differs"}
    drift: Any = (("spec.servers", 1, 3), ("spec.token", {"secret": "d" * 64}, {"secret": "e" * 64}))
    filling.report(
        "careful",
        "NeedsApproval",
        message="waits for: reconciler approve Cluster/careful",
        pending=pending,
        drift=drift,
    )
    filling.report(
        "drifting",
        "DriftReported",
        message="mode notify: the difference is reported and left alone",
        drift=(("spec.version", "1.30", HOSTILE),),
    )
    filling.report("upgrading", "Progressing", ready="Unknown", also=("Reconciling",), message="creating nodes")
    filling.report("waiting", "DependencyNotReady", message="needs Cluster/broken, which is not ready")
    for name in ("holiday", "forgotten"):
        filling.report(name, "Suspended", message="suspended")
    with filling.database.write() as connection:
        now = filling.database.now(connection)
        statuses.suspend(
            connection, ResourceRef("Cluster", "holiday"), "public holiday", "ann@office", (now, now + 9e4)
        )
        late = (now - 9e4, now - 3600)
        statuses.suspend(connection, ResourceRef("Cluster", "forgotten"), f"debugging {HOSTILE}", "bob@home", late)


def _finished_run(filling: Filling) -> None:
    run_id = filling.run()
    diffs = (FieldDiff("spec.servers", 1, 3), FieldDiff("spec.token", "a", "b", secret=True))
    lease, change_id = filling.change(run_id, "dev", Action.UPDATE, *diffs)
    ages = [(60.0, 58.5), (58.5, 40.0), (40.0, 31.0), (31.0, 30.0)]
    for sequence, title in enumerate(("Check the host", "Create the cluster", "Wait for nodes", "Record the result")):
        step_id = filling.step(lease, change_id, sequence, title, log=f"{title}\n{CHINESE}\n")
        outputs = {"port": 8080, "adminPassword": PASSWORD} if sequence == 1 else None
        journal.close_step(lease, step_id, StepOutcome.DONE, outputs)
        filling.backdate(tables.steps, step_id, *ages[sequence])
    filling.end(lease, change_id, "changed", "Applied", "")
    filling.backdate(tables.changes, change_id, 60.0, 30.0)
    with filling.database.write() as connection:
        journal.end_run(filling.database, connection, run_id, "succeeded")
    filling.backdate(tables.runs, run_id, 61.0, 29.0)


def _failed_run(filling: Filling) -> None:
    run_id = filling.run("root@host (daemon, pid 1)", "daemon")
    lease, change_id = filling.change(run_id, "broken", Action.CREATE)
    for sequence, (title, outcome) in enumerate(
        (("Check the host", StepOutcome.DONE), ("Create the cluster", StepOutcome.FAILED))
    ):
        step_id = filling.step(lease, change_id, sequence, title, log=f"line {HOSTILE}\n" * 40)
        message = f"{CHINESE}\n{HOSTILE}" if outcome is StepOutcome.FAILED else ""
        journal.close_step(lease, step_id, outcome, None, message)
        filling.backdate(tables.steps, step_id, 20.0 - 3 * sequence, 17.0 - 5 * sequence)
    filling.end(lease, change_id, "failed", "CreateFailed", f"{CHINESE} {'x' * 6000}")
    filling.backdate(tables.changes, change_id, 20.0, 12.0)
    with filling.database.write() as connection:
        journal.end_run(filling.database, connection, run_id, "failed")


def _running(filling: Filling) -> None:
    run_id = filling.run("root@host (daemon, pid 1)", "daemon")
    lease, change_id = filling.change(run_id, "upgrading", Action.UPDATE, FieldDiff("spec.version", "1.30", "1.31"))
    first = filling.step(lease, change_id, 0, "Check the host")
    journal.close_step(lease, first, StepOutcome.DONE)
    second = filling.step(lease, change_id, 1, "Wait for nodes", log="node 1 is ready\nnode 2 is ready\n")
    journal.note_progress(lease, second, 40.0, f"2 of 5 nodes {HOSTILE}")
    gone = replace(filling.owner, pid_start=1, token="gone")
    lost = leases.acquire(filling.database, "Cluster/staging", gone)
    ref = ResourceRef("Cluster", "staging")
    lost_change = journal.start_change(lost, run_id, Change(ref, Action.UPDATE, filling.wanted[ref], "servers differs"))
    journal.open_step(lost, lost_change, 0, PlannedStep("wait", "Wait for the API", 10, "exact"))
