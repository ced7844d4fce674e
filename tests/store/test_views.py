"""The read models say what was stored, worst first, without secrets, and cheaply for many resources."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import update

from reconciler.model.condition import Condition
from reconciler.model.plan import Action, Change, FieldDiff, PlannedStep
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.result import StepOutcome
from reconciler.model.secret import Secret
from reconciler.store import events, journal, leases, remembered, resources, statuses, tables, views
from reconciler.store.database import Database
from reconciler.store.owners import Owner

KEY = b"k" * 32
REF = ResourceRef("Cluster", "dev")
OWNER = Owner.this_process("test")
RECORDING = resources.Recording(KEY, lambda wanted: wanted.lifecycle.depends_on)


@pytest.fixture
def database(tmp_path: Path, fresh_database: Path) -> Iterator[Database]:
    path = tmp_path / "reconciler.db"
    shutil.copy(fresh_database, path)
    opened = Database.at(path)
    yield opened
    opened.close()


def want(database: Database, *wanted: Resource) -> None:
    """Make these, and nothing else, the desired state of the folder `specs`."""
    scope = remembered.Scope(("file:specs/",))
    with database.write() as connection:
        merged = remembered.merge(connection, {resource.ref: resource for resource in wanted}, scope)
        resources.record(database, connection, merged, RECORDING)


def resource(name: str, *, kind: str = "Cluster", spec: Mapping[str, Any] | None = None, **values: Any) -> Resource:
    values.setdefault("digest", f"{name:0<64}"[:64])
    values.setdefault("source", Source(f"file:specs/{name}.yaml", line=3))
    return Resource(ResourceRef(kind, name), spec or {"servers": 1}, **values)


def report(database: Database, name: str, *found: tuple[str, str, str], **values: Any) -> None:
    """Store conditions, (type, status, reason) each, as one pass would."""
    ref = ResourceRef("Cluster", name)
    generation = values.pop("observed_generation", 1)
    conditions = tuple(Condition(type_, status, reason, "why", generation, 100.0) for type_, status, reason in found)
    with database.write() as connection:
        entry = statuses.StatusUpdate(ref, conditions, generation, **values)
        statuses.write(connection, [entry], database.now(connection))


def standings(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {view.ref.name: view.standing for view in views.list_resources(connection)}


def test_a_resource_that_nobody_looked_at_is_new_and_says_where_it_is_written(database: Database) -> None:
    want(database, resource("dev", labels={"env": "dev"}))
    with database.read() as connection:
        (view,) = views.list_resources(connection)
    assert (view.ref, view.standing, view.ready, view.place) == (REF, "new", "Unknown", "specs/dev.yaml:3")
    assert view.labels == {"env": "dev"}
    assert view.generation == 1
    assert view.to_json()["observedGeneration"] == 0
    assert view.to_json()["ref"] == "Cluster/dev"


CASES: dict[str, tuple[list[tuple[str, str, str]], dict[str, Any]]] = {
    "ready": ([("Ready", "True", "Applied")], {"checked_at": 5.0}),
    "drifted": ([("Ready", "False", "DriftReported"), ("Applied", "False", "DriftReported")], {}),
    "reconciling": ([("Reconciling", "True", "Progressing"), ("Ready", "Unknown", "Progressing")], {}),
    "failed": ([("Ready", "False", "CreateFailed")], {"failures": 2}),
    "stalled": ([("Stalled", "True", "InvalidSpec"), ("Ready", "False", "InvalidSpec")], {}),
    "unknown": ([("Ready", "Unknown", "Unreachable")], {}),
    "waiting": ([("Ready", "False", "DependencyNotReady")], {}),
    "blocked": ([("Stalled", "True", "Protected"), ("Ready", "False", "Protected")], {}),
}


@pytest.mark.parametrize("standing", CASES)
def test_conditions_become_one_standing(database: Database, standing: str) -> None:
    want(database, resource("dev"))
    conditions, values = CASES[standing]
    report(database, "dev", *conditions, **values)
    assert standings(database) == {"dev": standing}


def test_a_change_that_waits_for_an_approval_is_blocked_whatever_ready_says(database: Database) -> None:
    want(database, resource("dev"))
    report(database, "dev", ("Ready", "True", "Applied"), pending={"fingerprint": "f", "action": "update", "why": "w"})
    assert standings(database) == {"dev": "blocked"}


def test_ready_of_an_older_generation_is_not_ready(database: Database) -> None:
    want(database, resource("dev"))
    report(database, "dev", ("Ready", "True", "Applied"))
    want(database, resource("dev", digest="f" * 64))
    assert standings(database) == {"dev": "reconciling"}


def test_text_that_looks_like_a_condition_does_not_change_the_standing(database: Database) -> None:
    want(database, resource("dev", labels={"suspend": "true"}, lifecycle=Lifecycle(ignore=('"suspend":true',))))
    hostile = Condition("Ready", "True", "Applied", '"status":"True","type":"Stalled"', 1, 1.0)
    with database.write() as connection:
        statuses.write(connection, [statuses.StatusUpdate(REF, (hostile,), 1)], 1.0)
    assert standings(database) == {"dev": "ready"}


def test_suspension_is_told_from_suspension_for_too_long(database: Database) -> None:
    want(database, resource("byhand"), resource("late"), resource("written", lifecycle=Lifecycle(suspend=True)))
    with database.write() as connection:
        now = database.now(connection)
        statuses.suspend(connection, ResourceRef("Cluster", "byhand"), "holiday", "ann@pc", (now, now + 60))
        statuses.suspend(connection, ResourceRef("Cluster", "late"), "forgotten", "bob@pc", (now - 60, now - 1))
    assert standings(database) == {"byhand": "suspended", "late": "overdue", "written": "suspended"}
    with database.read() as connection:
        late = views.resource_detail(connection, ResourceRef("Cluster", "late"))
        written = views.resource_detail(connection, ResourceRef("Cluster", "written"))
    assert late is not None
    assert late.suspension is not None
    assert (late.suspension.by, late.suspension.reason, late.suspension.overdue) == ("bob@pc", "forgotten", True)
    assert written is not None
    assert written.suspension is not None
    assert written.suspension.by == "document"


def test_what_left_the_specs_is_vanished_and_says_where_it_was(database: Database) -> None:
    want(database, resource("dev"), resource("other"))
    want(database, resource("other"))
    assert standings(database)["dev"] == "vanished"
    with database.read() as connection:
        detail = views.resource_detail(connection, REF)
    assert detail is not None
    assert detail.resource.vanished
    assert "specs/dev.yaml" in detail.vanished_why


def test_lists_are_filtered_by_kind_name_label_and_readiness(database: Database) -> None:
    want(
        database,
        resource("dev", labels={"env": "dev", "team": "a"}),
        resource("prod", labels={"env": "prod"}),
        resource("main", kind="Project"),
    )
    report(database, "prod", ("Ready", "True", "Applied"))

    def names(**chosen: Any) -> list[str]:
        with database.read() as connection:
            return [view.ref.name for view in views.list_resources(connection, **chosen)]

    assert names() == ["dev", "prod", "main"]
    assert names(kind="Project") == ["main"]
    assert names(name="p*") == ["prod"]
    assert names(name="p.*") == []
    assert names(labels={"env": "dev", "team": "a"}) == ["dev"]
    assert names(labels={"env": "dev", "team": "b"}) == []
    assert names(ready="True") == ["prod"]


def test_details_show_specs_and_differences_without_secrets(database: Database) -> None:
    spec = {"token": Secret("hunter2", "env:TOKEN"), "list": [{"key": Secret("hunter3", "env:K")}], "servers": 3}
    want(database, resource("dev", spec=spec))
    stored = json.dumps({"secret": Secret("hunter2", "x").keyed_digest(KEY)})
    report(database, "dev", ("Ready", "False", "NeedsApproval"), drift=(("token", json.loads(stored), None),))
    with database.read() as connection:
        detail = views.resource_detail(connection, REF)
    assert detail is not None
    assert detail.spec == {"token": "***", "list": [{"key": "***"}], "servers": 3}
    assert detail.drift == (views.DiffView("token", "***", None),)
    assert json.loads(stored)["secret"] not in json.dumps(detail.to_json())


def test_an_approval_that_was_given_is_seen_until_it_is_used(database: Database) -> None:
    want(database, resource("dev"))
    report(database, "dev", ("Ready", "False", "NeedsApproval"), pending={"fingerprint": "f1", "action": "update"})
    for fingerprint, approved in (("other", False), ("f1", True)):
        with database.write() as connection:
            statuses.approve(database, connection, REF, fingerprint, "ann@pc")
        with database.read() as connection:
            detail = views.resource_detail(connection, REF)
        assert detail is not None
        assert detail.approved is approved


def test_details_name_who_needs_the_resource(database: Database) -> None:
    above = Lifecycle(depends_on=(REF,))
    mentions = Lifecycle(ignore=("Cluster/dev",))
    want(database, resource("dev"), resource("top", lifecycle=above), resource("no", lifecycle=mentions))
    with database.read() as connection:
        detail = views.resource_detail(connection, REF)
        assert views.resource_detail(connection, ResourceRef("Cluster", "none")) is None
    assert detail is not None
    assert detail.needed_by == (ResourceRef("Cluster", "top"),)


def test_the_graph_has_edges_missing_ends_and_counts_the_rest(database: Database) -> None:
    missing = ResourceRef("Cluster", "gone")
    want(database, resource("a", lifecycle=Lifecycle(depends_on=(REF, missing))), resource("dev"), resource("alone"))
    with database.read() as connection:
        graph = views.dependency_graph(connection)
    a = ResourceRef("Cluster", "a")
    assert [(edge.source, edge.target) for edge in graph.edges] == [(a, REF), (a, missing)]
    assert {node.ref: node.standing for node in graph.nodes} == {a: "new", REF: "new", missing: "missing"}
    assert graph.single == 1


def begin(database: Database, name: str = "dev") -> tuple[leases.Lease, int, int]:
    """A run with one open change."""
    wanted = resource(name, generation=4)
    change = Change(
        wanted.ref,
        Action.UPDATE,
        wanted,
        "servers differs",
        diffs=(FieldDiff("servers", 1, 3), FieldDiff("token", "old", "new", secret=True)),
    )
    lease = leases.acquire(database, str(wanted.ref), OWNER)
    with database.write() as connection:
        run_id = journal.start_run(database, connection, journal.RunStart(OWNER, "apply", revision="abc"))
    return lease, run_id, journal.start_change(lease, run_id, change)


def step(name: str, weight: int = 1) -> PlannedStep:
    return PlannedStep(name, name.capitalize(), weight, "exact")


def test_history_has_steps_with_times_outputs_and_logs_but_no_secrets(database: Database) -> None:
    want(database, resource("dev"))
    lease, run_id, change_id = begin(database)
    first = journal.open_step(lease, change_id, 0, step("create"))
    for text in ("one\n", "two\n", "three\n"):
        journal.append_log(lease, first, text)
    outputs = {"port": 8080, "adminPassword": "hunter2", "nested": {"apiToken": "x", "name": "n"}}
    journal.close_step(lease, first, StepOutcome.DONE, outputs)
    second = journal.open_step(lease, change_id, 1, step("wait"))
    journal.note_progress(lease, second, 40.0, "2 of 5 nodes")
    with database.read() as connection:
        (change,) = views.history(connection, REF)
        log = views.step_log(connection, first)
        rest = views.step_log(connection, first, after=log[0].id, limit=1)
    assert (change.run, change.action, change.verdict, change.generation) == (run_id, "update", "", 4)
    assert (change.actor, change.revision, change.why) == (OWNER.holder, "abc", "servers differs")
    assert [(entry.before, entry.after) for entry in change.diffs] == [(1, 3), ("***", "***")]
    assert [(entry.outcome, entry.progress, entry.log_chunks) for entry in change.steps] == [
        ("done", 100.0, 3),
        ("open", 40.0, 0),
    ]
    assert change.steps[0].outputs == {"port": 8080, "adminPassword": "***", "nested": {"apiToken": "***", "name": "n"}}
    assert change.steps[1].note == "2 of 5 nodes"
    assert change.steps[1].ended_at is None
    assert "hunter2" not in json.dumps(change.to_json())
    assert [chunk.text for chunk in log] == ["one\n", "two\n", "three\n"]
    assert [chunk.text for chunk in rest] == ["three\n"]


def test_runs_are_newest_first_with_their_recap(database: Database) -> None:
    want(database, resource("dev"), resource("two"))
    lease, first, change_id = begin(database)
    with database.write() as connection:
        journal.end_change(connection, change_id, "failed", "CreateFailed", "no", database.now(connection))
    with database.write() as connection:
        journal.end_run(database, connection, first, "failed")
    _, second, _ = begin(database, "two")
    with database.read() as connection:
        newest, oldest = views.list_runs(connection, limit=10)
        assert [run.id for run in views.list_runs(connection, limit=1, before=second)] == [first]
        detail = views.run_detail(connection, first)
        assert views.run_detail(connection, 999) is None
    assert (newest.id, newest.state, newest.recap["running"], newest.ended_at) == (second, "running", 1, None)
    assert (oldest.id, oldest.state, oldest.recap["failed"], oldest.change_count) == (first, "failed", 1, 1)
    assert detail is not None
    assert [change.reason for change in detail.changes] == ["CreateFailed"]
    assert detail.omitted == 0
    assert lease.renew()


def test_a_run_with_too_many_changes_says_how_many_are_left_out(database: Database) -> None:
    want(database, resource("dev"))
    lease, run_id, _ = begin(database)
    for _ in range(3):
        journal.start_change(lease, run_id, Change(REF, Action.UPDATE, resource("dev"), "again"))
    with database.read() as connection:
        detail = views.run_detail(connection, run_id, limit=3)
    assert detail is not None
    assert (len(detail.changes), detail.omitted) == (3, 1)


def test_running_steps_say_whether_their_process_still_lives(database: Database) -> None:
    want(database, resource("dev"), resource("lost"))
    lease, run_id, change_id = begin(database)
    journal.open_step(lease, change_id, 0, step("create"))
    dead = replace(OWNER, pid_start=1, token="other")
    lost = leases.acquire(database, "Cluster/lost", dead)
    change = Change(ResourceRef("Cluster", "lost"), Action.CREATE, resource("lost"), "new")
    journal.open_step(lost, journal.start_change(lost, run_id, change), 0, step("create"))
    with database.read() as connection:
        found = views.running_steps(connection)
    assert [(entry.ref.name, entry.alive, entry.title) for entry in found] == [
        ("dev", True, "Create"),
        ("lost", False, "Create"),
    ]
    assert f"pid {os.getpid()}" in found[0].holder


def test_the_daemon_is_alive_stopped_gone_or_was_never_there(database: Database) -> None:
    def state() -> str:
        with database.read() as connection:
            return views.daemon_view(connection).state

    assert state() == "never"
    lease = leases.acquire(database, "daemon", OWNER)
    assert state() == "alive"
    lease.release()
    assert state() == "stopped"
    leases.acquire(database, "daemon", replace(OWNER, pid_start=1))
    assert state() == "gone"
    with database.write() as connection:
        connection.execute(update(tables.leases).values(pid_start=OWNER.pid_start, expires_at=1.0))
    assert state() == "gone"


def test_the_overview_counts_everything_and_lists_the_worst_first(database: Database) -> None:
    want(database, *(resource(name) for name in ("fine", "bad", "worse", "new")))
    report(database, "fine", ("Ready", "True", "Applied"), checked_at=time.time())
    report(database, "bad", ("Ready", "Unknown", "Unreachable"))
    report(database, "worse", ("Stalled", "True", "InvalidSpec"), ("Ready", "False", "InvalidSpec"))
    with database.read() as connection:
        found = views.overview(connection)
    assert (found.resource_count, found.wrong_count) == (4, 2)
    assert [(entry.resource.ref.name, entry.since) for entry in found.wrong] == [("worse", 100.0), ("bad", 100.0)]
    row = found.counts["Cluster"]
    assert {word: number for word, number in row.items() if number} == {
        "stalled": 1,
        "unknown": 1,
        "new": 1,
        "ready": 1,
    }
    assert {"kind": "Cluster", "ready": "False", "reason": "InvalidSpec", "count": 1} in found.reasons
    assert json.loads(json.dumps(found.to_json()))["wrong"][0]["resource"]["ref"] == "Cluster/worse"


def test_an_alarm_stands_until_its_resource_was_seen_ready_again(database: Database) -> None:
    want(database, resource("dev"))
    with database.write() as connection:
        now = database.now(connection)
        old = events.Event("alarm", "Old", "yesterday", REF)
        events.add(connection, now - 2 * 86_400, [old])
        events.add(connection, now - 5, [events.Event("alarm", "RunsWhilePaused", "rsync runs", REF)])
        events.add(connection, now - 5, [events.Event("alarm", "DiskFull", "no space")])

    def alarms() -> list[str]:
        with database.read() as connection:
            return [event.reason for event in views.overview(connection).alarms]

    assert alarms() == ["DiskFull", "RunsWhilePaused"]
    report(database, "dev", ("Ready", "True", "Applied"), checked_at=now - 10)
    assert alarms() == ["DiskFull", "RunsWhilePaused"]
    report(database, "dev", ("Ready", "True", "Applied"), checked_at=now)
    assert alarms() == ["DiskFull"]


def test_events_page_backwards_and_filter(database: Database) -> None:
    with database.write() as connection:
        for number in range(5):
            type_: Any = "warning" if number % 2 else "normal"
            events.add(
                connection, float(number), [events.Event(type_, f"R{number}", "m", REF if number == 4 else None)]
            )
    with database.read() as connection:
        newest = views.list_events(connection, limit=2)
        assert [event.reason for event in newest] == ["R4", "R3"]
        assert [event.reason for event in views.list_events(connection, limit=2, before=newest[-1].id)] == ["R2", "R1"]
        assert [event.reason for event in views.list_events(connection, limit=9, types=("warning",))] == ["R3", "R1"]
        assert [event.reason for event in views.list_events(connection, limit=9, ref=REF)] == ["R4"]


def test_the_tail_tells_of_what_is_shown_and_of_nothing_else(database: Database) -> None:
    want(database, resource("dev"))
    lease = leases.acquire(database, "daemon", OWNER)
    tail = views.Tail(database)
    assert tail.poll() is not None
    assert tail.poll() is None
    assert lease.renew()
    assert tail.poll() is None, "a renewed lease shows nothing"
    report(database, "dev", ("Ready", "False", "CreateFailed"), failures=1)
    told = tail.poll()
    assert told is not None
    with database.read() as connection:
        assert views.read_cursor(connection).token == told.token
    with database.write() as connection:
        events.add(connection, 1.0, [events.Event("normal", "R", "m")])
    after = tail.poll()
    assert after is not None
    assert (after.event, after.token == told.token) == (told.event + 1, False)
    tail.close()


def test_the_tail_sees_the_progress_of_a_running_step(database: Database) -> None:
    want(database, resource("dev"))
    lease, _, change_id = begin(database)
    tail = views.Tail(database)
    tail.poll()
    opened = journal.open_step(lease, change_id, 0, step("create"))
    assert tail.poll() is not None
    journal.note_progress(lease, opened, 10.0, "ten")
    assert tail.poll() is not None
    journal.append_log(lease, opened, "a line")
    assert tail.poll() is not None
    with database.write() as connection:
        statuses.suspend(connection, REF, "why", "ann", (1.0, None))
    assert tail.poll() is not None
    tail.close()


def test_views_of_many_resources_take_a_fixed_number_of_queries(database: Database) -> None:
    def queries() -> int:
        count = 0

        def seen(*_: Any) -> None:
            nonlocal count
            count += 1

        sql_event.listen(database.engine, "before_cursor_execute", seen)
        with database.read() as connection:
            views.list_resources(connection)
            views.overview(connection)
            views.dependency_graph(connection)
            views.history(connection, REF)
        sql_event.remove(database.engine, "before_cursor_execute", seen)
        return count

    want(database, resource("dev"))
    few = queries()
    want(database, resource("dev"), *(resource(f"r{number}") for number in range(300)))
    assert queries() == few


def test_ten_thousand_resources_are_listed_quickly(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    want(database, *(resource(f"r{number:05}", labels={"env": "dev"}) for number in range(10_000)))
    started = time.perf_counter()
    with database.read() as connection:
        found = views.list_resources(connection)
    listed = time.perf_counter() - started
    started = time.perf_counter()
    with database.read() as connection:
        views.overview(connection)
    looked = time.perf_counter() - started
    tail = views.Tail(database)
    started = time.perf_counter()
    for _ in range(100):
        tail.poll()
    polled = (time.perf_counter() - started) / 100
    tail.close()
    with capsys.disabled():
        print(f"\n10,000 resources: list {listed:.3f} s, overview {looked:.3f} s, poll {polled * 1000:.3f} ms")
    assert len(found) == 10_000
