"""A daemon that follows a branch: by the clock, by request, by webhook, and through every failure of the remote."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from git_lab import Repository, document
from git_servers import Served, smart_http

from tests.daemon.lab import Daemon, Lab, stays, until

SECRET = "webhook-s3cret"


@pytest.fixture
def repository(lab: Lab) -> Repository:
    made = Repository(lab.root / "served" / "specs.git")
    made.commit({"specs/one.yaml": document("one"), "specs/two.yaml": document("two")}, "Two entries")
    return made


@pytest.fixture
def server(repository: Repository) -> Iterator[Served]:
    with smart_http(repository.path.parent) as served:
        yield served


def following(lab: Lab, url: str, *arguments: str, ready: bool = True) -> Daemon:
    """A daemon on the folder specs of branch main."""
    daemon = lab.as_daemon(lab.start("daemon", "--git", url, "--path", "specs", *arguments))
    if ready:
        daemon.await_ready()
    return daemon


def post(daemon: Daemon, body: bytes, headers: Mapping[str, str]) -> int:
    """The answer's status to a webhook."""
    request = urllib.request.Request(f"{daemon.url}/api/v2/webhooks/git", data=body, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def with_webhook(lab: Lab) -> None:
    secret = lab.root / "webhook-secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    lab.configure(git={"webhookSecretFile": str(secret), "interval": "1h"})


def test_a_branch_is_followed_by_the_clock(lab: Lab, repository: Repository) -> None:
    lab.configure(git={"interval": "1s"})
    daemon = following(lab, repository.url)
    lab.await_ready("Entry/one", "Entry/two")
    commit = repository.commit({"specs/one.yaml": document("one", "new")}, "Say new\n\nat length", author="Bo <b@x>")
    until(lambda: lab.text_of("one") == "new")
    lab.await_ready("Entry/one")
    (run,) = lab.rows("SELECT r.*, c.author, c.subject FROM runs r JOIN commits c ON c.id = r.revision "
                      "WHERE r.revision = ?", commit)  # fmt: skip
    assert (run["author"], run["subject"]) == ("Bo <b@x>", "Say new")
    for command in ("history", "describe"):
        assert f"commit: {commit[:12]} by Bo <b@x>: Say new" in lab.ok(command, "Entry/one")
    seen = json.loads(daemon.get("/api/v2/runs")[1])
    assert [one["subject"] for one in seen["runs" if "runs" in seen else "items"] if one["revision"] == commit] == [
        "Say new"
    ]
    for path in ("/runs", f"/runs/{run['id']}", "/resources/Entry/one"):
        assert f"{commit[:12]} by Bo &lt;b@x&gt;: Say new" in daemon.get(path)[1], path
    assert daemon.terminate() == 0


def test_sync_fetches_loads_and_waits_for_both(lab: Lab, repository: Repository) -> None:
    lab.configure(git={"interval": "1h"})
    following(lab, repository.url)
    lab.await_ready("Entry/one", "Entry/two")
    for text in ("first", "second"):
        commit = repository.commit({"specs/one.yaml": document("one", text)}, text)
        done = lab.run("sync")
        assert (done.code, commit[:12] in done.out, text in done.out) == (0, True, True), done.text
        assert lab.rows("SELECT revision FROM resources WHERE name = 'one'") == [{"revision": commit}], "it was loaded"
        until(lambda text=text: lab.text_of("one") == text)  # type: ignore[misc]  # bound now


def test_sync_has_a_folder_read_as_well(lab: Lab) -> None:
    lab.write("a.yaml", document("one"))
    daemon = lab.daemon()
    before = daemon.loads()
    assert str(lab.specs) in lab.ok("sync")
    assert daemon.loads() > before


def test_without_a_daemon_sync_fetches_and_nothing_else(lab: Lab, repository: Repository) -> None:
    out = lab.ok("sync", "--git", repository.url, "--path", "specs")
    assert repository.head()[:12] in out
    assert lab.live() == {}
    assert lab.run("sync").code == 64, "a folder needs no fetching"
    repository.path.rename(repository.path.with_name("away"))
    assert lab.run("sync", "--git", repository.url).code == 6
    plan = lab.run("plan", "--git", repository.url, "--path", "specs", "--no-fetch")
    assert "2 to create" in plan.out
    assert lab.run("plan", "--git", repository.url, "--path", "specs").code == 6


def test_a_remote_that_fails_is_seen_and_touches_nothing(lab: Lab, repository: Repository, server: Served) -> None:
    lab.configure(git={"interval": "1s"}, prune=True)
    daemon = following(lab, f"{server.url}/specs.git")
    lab.await_ready("Entry/one", "Entry/two")
    server.broken = 500
    until(lambda: lab.rows("SELECT * FROM problems WHERE message LIKE 'could not be fetched%500%'"))
    (source,) = lab.rows("SELECT * FROM sources")
    assert (source["revision"], source["readable"], "500" in source["message"]) == (repository.head(), 1, True)
    assert lab.run("sync").code == 6
    lab.spoil("one", {"text": "drifted"})
    lab.ok("reconcile", "Entry/one")
    assert lab.text_of("one") == "hello", "it goes on looking after what is known"
    assert set(lab.live()) == {"one", "two"}
    asked = len(server.seen)
    assert stays(lambda: len(server.seen) - asked <= 8, 3.0), "it backs off"
    server.broken = 0
    commit = repository.commit({"specs/one.yaml": document("one", "again")})
    until(lambda: lab.text_of("one") == "again")
    until(lambda: lab.rows("SELECT * FROM problems") == [])
    reasons = [row["reason"] for row in lab.rows("SELECT reason FROM events WHERE kind = '' ORDER BY id")]
    assert reasons == ["Fetched", "GitUnreachable", "FetchedAgain", "Fetched"]
    assert lab.rows("SELECT revision, message FROM sources") == [{"revision": commit, "message": ""}]
    assert daemon.alive


@pytest.mark.parametrize("how", ["empty", "no branch", "rewritten", "no folder", "no document"])
def test_a_branch_that_is_lost_deletes_nothing(lab: Lab, repository: Repository, how: str) -> None:
    lab.configure(git={"interval": "1h"}, prune=True)
    following(lab, repository.url)
    lab.await_ready("Entry/one", "Entry/two")
    match how:
        case "empty":
            repository.git("update-ref", "-d", "refs/heads/main")
        case "no branch":
            repository.git("branch", "-m", "main", "trunk")
        case "rewritten":
            repository.commit({"specs/three.yaml": document("three")}, orphan=True)
        case "no folder":
            repository.commit({"specs/one.yaml": None, "specs/two.yaml": None, "x": "x"})
        case _:
            repository.commit({"specs/one.yaml": None, "specs/two.yaml": None, "specs/README": "x"})
    lab.run("sync")
    assert stays(lambda: set(lab.live()) == {"one", "two"}, 1.5)
    if how != "no document":
        assert lab.rows("SELECT * FROM problems")


def test_a_document_that_was_removed_is_pruned_and_the_commit_is_named(lab: Lab, repository: Repository) -> None:
    lab.configure(git={"interval": "1h"}, prune=True)
    following(lab, repository.url)
    lab.await_ready("Entry/one", "Entry/two")
    commit = repository.commit({"specs/two.yaml": None})
    assert lab.run("sync").code == 0
    until(lambda: set(lab.live()) == {"one"})
    why = lab.changes("Entry/two")[-1]["why"]
    assert commit[:12] in why
    assert "specs/two.yaml" in why


def test_a_slow_remote_holds_nobody_up(lab: Lab, repository: Repository, server: Served) -> None:
    lab.configure(git={"interval": "1s"})
    daemon = following(lab, f"{server.url}/specs.git")
    lab.await_ready("Entry/one", "Entry/two")
    server.delay = 20.0
    asked = len(server.seen)
    until(lambda: len(server.seen) > asked)
    lab.spoil("one", {"text": "drifted"})
    started = time.monotonic()
    lab.ok("reconcile", "Entry/one")
    assert time.monotonic() - started < 15
    assert lab.text_of("one") == "hello"
    assert daemon.terminate(within=15) == 0, "a fetch that hangs does not hold up the end either"
    server.delay = 0.0


def test_a_daemon_starts_on_what_it_knows_when_the_remote_is_away(lab: Lab, repository: Repository) -> None:
    lab.ok("apply", "--git", repository.url, "--path", "specs", "--yes")
    lab.spoil("one", None)
    repository.path.rename(repository.path.with_name("away"))
    following(lab, repository.url)
    until(lambda: lab.text_of("one") == "hello")
    assert lab.rows("SELECT * FROM problems WHERE message LIKE 'could not be fetched%'")


def test_a_webhook_has_the_branch_fetched_at_once(lab: Lab, repository: Repository) -> None:
    with_webhook(lab)
    daemon = following(lab, repository.url)
    lab.await_ready("Entry/one", "Entry/two")
    for text, headers in (("signed", signed(b'{"ref": 1}')), ("gitlab", {"X-Gitlab-Token": SECRET})):
        repository.commit({"specs/one.yaml": document("one", text)})
        assert post(daemon, b'{"ref": 1}', headers) == 202
        until(lambda text=text: lab.text_of("one") == text)  # type: ignore[misc]  # bound now


def test_a_webhook_that_nobody_set_up_is_not_there(lab: Lab, repository: Repository) -> None:
    daemon = following(lab, repository.url)
    assert post(daemon, b"{}", signed(b"{}", "")) == 404


def test_a_lost_secret_is_not_taken_for_no_webhook(lab: Lab, repository: Repository) -> None:
    with_webhook(lab)
    daemon = following(lab, repository.url)
    (lab.root / "webhook-secret").chmod(0o644)
    assert post(daemon, b"{}", signed(b"{}")) == 503
    (lab.root / "webhook-secret").chmod(0o600)
    assert post(daemon, b"{}", signed(b"{}")) == 202


def test_two_branches_are_two_environments(lab: Lab, repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/one.yaml": None, "specs/two.yaml": document("prod-two")}, branch="prod")
    for branch in ("main", "prod"):
        lab.ok("apply", "--git", repository.url, "--branch", branch, "--path", "specs", "--yes", "--prune")
    assert set(lab.live()) == {"one", "two", "prod-two"}, "neither takes the other's for gone"
