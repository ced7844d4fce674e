"""What hangs costs only itself: a command of a step, and a sandbox that sleeps."""

from __future__ import annotations

import signal

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import entry, processes_of, stays, until

UNKNOWN = 6


def test_row_9_06_hung_command(lab: SandboxLab) -> None:
    """The entry kind's child stands for a tool that sleeps for ever; its deadline is a second."""
    lab.write("hangs.yaml", entry("hangs", target="hangs", behave="hang", seconds=1.0))
    lab.write("fine.yaml", cluster("dev"), entry("fine"))
    daemon = lab.daemon()
    child = until(lambda: lab.rows("SELECT pgid FROM processes"), daemon.err)[0]["pgid"]
    lab.await_ready("Cluster/dev", "Entry/fine")
    until(lambda: ("write", "failed") in lab.steps("Entry/hangs"), lambda: lab.steps("Entry/hangs"))
    until(lambda: child not in processes_of(lab.root), lambda: processes_of(lab.root))
    until(lambda: lab.status("Entry/hangs").get("ready") == "False", lambda: lab.status("Entry/hangs"))
    failed = [change for change in lab.changes("Entry/hangs") if change["verdict"] == "failed"]
    assert "did not end within 1 s and was killed" in failed[0]["message"]
    lab.write("late.yaml", cluster("late"))
    lab.await_ready("Cluster/late")
    assert sorted(lab.made()) == ["dev", "late"]
    lab.write("hangs.yaml", entry("hangs", target="hangs"))
    lab.await_ready("Entry/hangs")


def test_row_9_06_hung_sandbox(lab: SandboxLab) -> None:
    """A sandbox that sleeps is unreachable, never absent: nothing is made anew, others go on, and it heals."""
    lab.configure(observeTimeout="1s")
    lab.write("dev.yaml", cluster("dev", {"interval": "1s"}))
    lab.write("fine.yaml", entry("fine", "one"))
    lab.daemon()
    lab.await_ready("Cluster/dev", "Entry/fine")
    before, changes = lab.row("dev"), len(lab.changes("Cluster/dev"))
    uid = lab.made()["dev"]["uid"]
    lab.signal_sandbox(signal.SIGSTOP)
    until(lambda: lab.status("Cluster/dev")["ready"] == "Unknown", lambda: lab.status("Cluster/dev"))
    assert lab.status("Cluster/dev")["reason"] == "Unreachable"
    lab.write("fine.yaml", entry("fine", "two"))
    until(lambda: lab.text_of("fine") == "two" and lab.is_ready("Entry/fine"), lambda: lab.status("Entry/fine"))
    assert lab.run("apply", lab.specs, "--yes", "--limit", "Cluster/dev").code == UNKNOWN
    assert stays(lambda: len(lab.changes("Cluster/dev")) == changes, 1.0), "nothing is done to what cannot be seen"
    assert lab.row("dev") == before
    lab.signal_sandbox(signal.SIGCONT)
    lab.await_ready("Cluster/dev")
    assert lab.made()["dev"]["uid"] == uid
    assert len(lab.changes("Cluster/dev")) == changes
