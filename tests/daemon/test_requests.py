"""What commands ask of a running daemon: look now, leave it alone, go on, approved."""

from __future__ import annotations

import json

from tests.daemon.lab import Lab, document, entry, stays, until

SELDOM = {"interval": "1h"}
"""Nothing happens by the clock: what happens was asked for."""


def seldom(name: str, text: str = "hello", **lifecycle: object) -> str:
    return entry(name, text, {**SELDOM, **lifecycle})


def test_reconcile_looks_now_and_waits_until_that_was_done(lab: Lab) -> None:
    lab.write("a.yaml", seldom("a"))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.spoil("a", {"text": "spoiled"})
    assert stays(lambda: lab.text_of("a") == "spoiled", 1.0)
    assert "AsDesired" in lab.ok("reconcile", "Entry/a")
    assert lab.text_of("a") == "hello"
    status = lab.status("Entry/a")
    assert status["requested_at"] == status["handled_at"] != ""


def test_reconcile_is_not_answered_by_a_look_that_began_before_it(lab: Lab) -> None:
    """A look is under way that has seen the good state already; then the drift happens, and then the request."""
    lab.write("a.yaml", document("Odd", "a", {"text": "hello"}, SELDOM))
    daemon = lab.daemon()
    lab.await_ready("Odd/a")
    file = lab.root / "odd-a"
    lab.write("a.yaml", document("Odd", "a", {"text": "hello", "lingers": 2}, SELDOM))
    until(lambda: daemon.metric("reconciler_queue_in_work") == 1)
    file.write_text("spoiled")
    lab.write_sql("UPDATE statuses SET requested_at = 'token'")  # what the command does, without its time to start
    until(lambda: lab.status("Odd/a")["handled_at"] == "token", lambda: lab.status("Odd/a"))
    assert file.read_text() == "hello"


def test_reconcile_tells_that_it_did_not_get_well(lab: Lab) -> None:
    lab.write("a.yaml", seldom("a", "one"))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.write("a.yaml", entry("a", "two", SELDOM, behave="terminal"))
    lab.await_reason("Entry/a", "Impossible")
    done = lab.run("reconcile", "Entry/a")
    assert done.code == 1
    assert "Impossible" in done.out


def test_reconcile_without_a_daemon_says_so_at_once(lab: Lab) -> None:
    lab.write("a.yaml", entry("a"))
    lab.ok("apply", lab.specs, "--yes")
    refused = lab.run("reconcile", "Entry/a", timeout=20)
    assert refused.code == 64
    assert "no daemon runs" in refused.err
    assert "reconciler apply" in refused.err
    killed = lab.daemon()
    killed.kill()
    refused = lab.run("reconcile", "Entry/a", timeout=20)
    assert refused.code == 64
    assert "no daemon runs" in refused.err


def test_a_suspended_resource_is_left_alone_until_it_is_resumed(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", lifecycle={"interval": "1s"}))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.ok("suspend", "Entry/a", "--reason", "looking into it", "--until", "2h")
    status = lab.await_reason("Entry/a", "Suspended")
    assert '"type":"Suspended"' in status["conditions"]
    lab.spoil("a", {"text": "spoiled"})
    assert stays(lambda: lab.text_of("a") == "spoiled", 2.0)
    refused = lab.run("reconcile", "Entry/a")
    assert refused.code == 7
    assert "suspended" in refused.err
    described = lab.ok("describe", "Entry/a")
    assert "looking into it" in described
    # a changed document does not lift it either
    lab.write("a.yaml", entry("a", "two", {"interval": "1s"}))
    assert stays(lambda: lab.text_of("a") == "spoiled", 2.0)
    lab.ok("resume", "Entry/a")
    until(lambda: lab.text_of("a") == "two", lambda: lab.status("Entry/a"))
    lab.await_ready("Entry/a")
    assert '"type":"Suspended"' not in lab.status("Entry/a")["conditions"]


def test_suspending_and_resuming_wake_the_daemon(lab: Lab) -> None:
    """Although nothing is due for an hour."""
    lab.write("a.yaml", seldom("a"))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.ok("suspend", "Entry/a", "--reason", "r")
    lab.await_reason("Entry/a", "Suspended")
    lab.spoil("a", None)
    lab.ok("resume", "Entry/a")
    until(lambda: lab.text_of("a") == "hello", lambda: lab.status("Entry/a"))


def test_a_document_can_suspend_as_well(lab: Lab) -> None:
    lab.write("a.yaml", seldom("a", "one"))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.write("a.yaml", seldom("a", "two", suspend=True))
    lab.await_reason("Entry/a", "Suspended")
    assert lab.text_of("a") == "one"
    lab.write("a.yaml", seldom("a", "two"))
    until(lambda: lab.text_of("a") == "two", lambda: lab.status("Entry/a"))


def test_a_suspension_that_outlives_its_time_warns_once(lab: Lab) -> None:
    lab.write("a.yaml", seldom("a"))
    first = lab.daemon()
    lab.await_ready("Entry/a")
    lab.ok("suspend", "Entry/a", "--reason", "over lunch", "--until", "1s")
    told = until(lambda: lab.events("Entry/a", "SuspendedTooLong"))
    assert "over lunch" in told[0]["message"]
    assert stays(lambda: len(lab.events("Entry/a", "SuspendedTooLong")) == 1, 1.5)
    assert "longer than planned" in lab.run("doctor").out
    # it goes on being suspended: a time is a reminder, not an order
    assert lab.status("Entry/a")["reason"] == "Suspended"
    # and a daemon that is started again does not say it again
    assert first.terminate() == 0
    lab.daemon()
    assert stays(lambda: len(lab.events("Entry/a", "SuspendedTooLong")) == 1, 1.5)


def test_what_needs_an_approval_waits_for_it_and_is_then_done_at_once(lab: Lab) -> None:
    lab.configure(unsettledInterval="1h")
    lab.write("a.yaml", seldom("a", "one", approval="manual"))
    lab.daemon()
    waiting = lab.await_reason("Entry/a", "NeedsApproval")
    assert json.loads(waiting["pending"])["action"] == "create"
    assert lab.live() == {}
    assert "reconciler approve Entry/a" in lab.ok("describe", "Entry/a")
    lab.ok("approve", "Entry/a")
    until(lambda: lab.text_of("a") == "one", lambda: lab.status("Entry/a"))
    lab.await_ready("Entry/a")
    assert lab.rows("SELECT * FROM approvals") == []
    # it was for that change only
    lab.write("a.yaml", seldom("a", "two", approval="manual"))
    lab.await_reason("Entry/a", "NeedsApproval")
    assert lab.text_of("a") == "one"
    refused = lab.run("approve", "Entry/nobody")
    assert refused.code == 64


def test_an_approval_is_void_when_the_document_has_moved_on(lab: Lab) -> None:
    lab.configure(unsettledInterval="1h")
    lab.write("a.yaml", seldom("a", "one", approval="manual"))
    daemon = lab.daemon()
    lab.await_reason("Entry/a", "NeedsApproval")
    daemon.terminate()
    lab.ok("approve", "Entry/a")
    lab.write("a.yaml", seldom("a", "another", approval="manual"))
    lab.daemon()
    until(lambda: lab.status("Entry/a")["generation"] == 2)
    lab.await_reason("Entry/a", "NeedsApproval")
    assert stays(lambda: lab.live() == {}, 1.0)


def test_what_the_command_line_creates_is_looked_after_by_the_daemon(lab: Lab) -> None:
    """Desired state that lives in the store: no file event tells of it."""
    daemon = lab.daemon()
    lab.ok("create", "entry", "a", "--set", "text=one", "--no-apply")
    until(lambda: lab.text_of("a") == "one", daemon.err)
    lab.await_ready("Entry/a")
    assert lab.status("Entry/a")["owner"] == "api"
    lab.spoil("a", {"text": "spoiled"})
    lab.ok("reconcile", "Entry/a")
    assert lab.text_of("a") == "one"
    lab.ok("delete", "Entry/a", "--yes", "--no-apply")
    until(lambda: lab.live() == {}, daemon.err)
    until(lambda: not lab.status("Entry/a"), lambda: lab.status("Entry/a"))


def test_what_the_command_line_owns_cannot_be_taken_over_by_a_file(lab: Lab) -> None:
    """One owner a resource: the second is an error that names both."""
    lab.daemon("--prune")
    lab.ok("create", "entry", "a", "--set", "text=mine", "--no-apply")
    lab.await_ready("Entry/a")
    path = lab.write("a.yaml", entry("a", "yours"))
    told = until(lambda: lab.rows("SELECT * FROM problems"))[0]
    assert told["path"].endswith("a.yaml")
    assert "api" in told["message"]
    assert stays(lambda: lab.text_of("a") == "mine", 1.0)
    path.unlink()
    until(lambda: not lab.rows("SELECT * FROM problems"))
    assert stays(lambda: lab.text_of("a") == "mine", 1.0)


def test_a_document_in_the_store_that_is_no_longer_valid_deletes_nothing(lab: Lab) -> None:
    """As after an upgrade that asks for more than before."""
    lab.write("b.yaml", entry("b"))
    daemon = lab.daemon("--prune")
    lab.ok("create", "entry", "a", "--set", "text=mine", "--no-apply")
    lab.await_ready("Entry/a", "Entry/b")
    lab.write_sql("UPDATE resources SET document = replace(document, 'text', 'txet'), updated_at = updated_at + 1")
    told = lab.await_reason("Entry/a", "InvalidSpec")
    assert "txet" in told["message"]
    assert daemon.terminate() == 0
    lab.daemon("--prune")
    assert stays(lambda: lab.text_of("a") == "mine", 1.5)
    assert lab.status("Entry/a")["reason"] == "InvalidSpec"


def test_a_daemon_without_specs_looks_after_the_store_alone(lab: Lab) -> None:
    command = lab.start("daemon")
    until(lambda: "page: " in command.out(), command.err)
    lab.ok("create", "odd", "a", "--set", "text=one", "--no-apply")
    until(lambda: (lab.root / "odd-a").exists(), command.err)
    assert command.terminate() == 0


def test_labels_select_what_the_daemon_keeps(lab: Lab) -> None:
    lab.write("a.yaml", document("Entry", "a", {"text": "x"}, labels={"env": "dev"}), entry("b"))
    lab.daemon()
    lab.await_ready("Entry/a", "Entry/b")
    assert lab.ok("get", "-l", "env=dev", "-o", "name").split() == ["Entry/a"]
