"""What goes wrong with clusters, and what the record says then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from cluster_lab import MOTD, NAME, Lab

from reconciler.errors import DatabaseError, TransientError
from reconciler.kinds.cluster.providers.sandbox import Sandbox
from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.kinds.cluster.sandbox_admin import SandboxAdmin
from reconciler.store.kind_records import KindRecords


def test_a_hung_cluster_is_unreachable_and_nothing_is_done(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OBSERVE_TIMEOUT", "2s")
    lab.apply()
    os.kill(lab.sandbox_pid(), signal.SIGSTOP)
    plan = lab.plan()
    assert (plan["action"], plan["obstacle"]["reason"]) == ("noop", "Unreachable")
    assert lab.apply() == 6
    os.kill(lab.sandbox_pid(), signal.SIGCONT)
    assert lab.plan()["action"] == "noop"
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "running"


def test_row_0_25_no_ghost_row_as_running(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Sandbox.create

    def create_half(self: Sandbox, spec: Any, context: Any) -> None:
        create(self, spec, context)
        raise TransientError("ToolFailed", "exit 1: no space left on device")

    monkeypatch.setattr(Sandbox, "create", create_half)
    assert lab.apply() != 0
    row = lab.row()
    assert row is not None
    assert (row["actual_state"], row["status"]) == ("failed", "failed")
    assert "no space left on device" in row["reconcile_error"]
    assert lab.live() is None, "what the failed creation made is deleted again"
    assert not kubeconfig_path(lab.home, NAME).exists()
    monkeypatch.undo()
    assert lab.apply() == 0
    row = lab.row()
    assert row is not None
    assert (row["actual_state"], row["reconcile_error"]) == ("running", None)


def test_a_failed_attempt_never_deletes_a_cluster_that_was_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.apply()
    before = lab.live()
    lab.execute("DELETE FROM clusters")

    def fail(*_: Any) -> None:
        raise TransientError("ToolFailed", "exit 1")

    monkeypatch.setattr(Sandbox, "create", fail)
    monkeypatch.setattr("reconciler.kinds.cluster.steps.write_file", fail)
    assert lab.apply() != 0
    assert lab.live() == before


def test_row_0_26_verify_after_create(lab: Lab) -> None:
    lab.write({"provider": "sandbox", "ready": {"nodes": 3, "timeout": "500ms"}})
    assert lab.apply() != 0
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "1 of 3 are ready" in row["reconcile_error"]
    lab.write({"provider": "sandbox", "ready": {"nodes": 1}})
    assert lab.apply() == 0


def test_row_0_22_the_record_is_tried_three_times(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    put = KindRecords.put
    failures = iter([True, True])

    def put_or_fail(self: KindRecords, table: str, key: Any, values: Any) -> None:
        if "server_ip" in values and next(failures, False):
            raise DatabaseError("DatabaseLocked", "the write lock was not free")
        put(self, table, key, values)

    monkeypatch.setattr(KindRecords, "put", put_or_fail)
    assert lab.apply() == 0
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "running"
    log = lab.log()
    assert [f"attempt {number} of 3" in log for number in (1, 2, 3)] == [True] * 3
    assert log.count("the write lock was not free") == 2


def test_row_0_28_delete_removes_the_row_last(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.apply()
    lab.write({"provider": "sandbox"}, state="absent")

    def refuse(*_: Any) -> None:
        raise TransientError("ToolFailed", "exit 1: device or resource busy")

    monkeypatch.setattr(Sandbox, "delete", refuse)
    assert lab.apply() != 0
    row = lab.row()
    assert row is not None, "a cluster that could not be deleted keeps its record"
    assert row["actual_state"] == "failed"
    assert "busy" in row["reconcile_error"]
    assert lab.live() is not None
    monkeypatch.undo()
    assert lab.apply() == 0
    assert (lab.row(), lab.live()) == (None, None)


def test_row_0_15_many_creators_make_one_cluster(lab: Lab) -> None:
    command = [sys.executable, "-m", "reconciler.cli.main", "--home", str(lab.home), "apply", "--yes", str(lab.specs)]
    creators = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    outputs = [creator.communicate(timeout=120)[0].decode() for creator in creators]
    log = "".join(outputs)
    assert log.count("Create the cluster: done") == 1, log
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "running"
    assert lab.apply() == 0, "no lease is left behind"


def test_a_manifest_that_the_server_refuses_is_named(lab: Lab) -> None:
    lab.write({"provider": "sandbox", "manifests": [{**MOTD, "data": {"a": {"not": "text"}}}]})
    assert lab.apply() != 0
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "applying ConfigMap motd" in row["reconcile_error"]
    lab.write({"provider": "sandbox"})
    assert lab.apply() == 0


def test_many_starters_start_one_sandbox(lab: Lab) -> None:
    lab.apply()
    os.kill(lab.sandbox_pid(), signal.SIGKILL)

    class Starter:
        home = lab.home
        deadline = 10.0

        def __init__(self) -> None:
            self.started: list[str] = []

        def log(self, text: str) -> None:
            self.started.append(text)

        def sleep(self, seconds: float) -> None:
            threading.Event().wait(seconds)

    starters = [Starter() for _ in range(6)]
    threads = [threading.Thread(target=SandboxAdmin(starter).ensure_running) for starter in starters]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(starter.started) for starter in starters) == 1
    assert lab.live() is not None
