"""What happens to spec files while the daemon runs: saved, edited, broken, renamed, removed, gone with their folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.daemon.lab import Daemon, Lab, document, entry, stays, until

BROKEN = "apiVersion: reconciler.dev/v1\nkind: Entry\nmetadata: {name: a}\nspec:\n  text: [oops\n"
QUIET = 1.5
"""Seconds after which what should not happen would have happened: a look at the shortest interval, and more."""


def quick(name: str, text: str = "hello", **spec: object) -> str:
    """An entry that is looked at all the time."""
    return entry(name, text, {"interval": "1s"}, **spec)


def await_text(lab: Lab, name: str, text: str | None) -> None:
    until(lambda: lab.text_of(name) == text, lambda: (lab.live(), lab.status(f"Entry/{name}")))


def await_vanished(lab: Lab, ref: str) -> None:
    until(lambda: lab.status(ref).get("vanished_at") is not None, lambda: lab.status(ref))


def test_row_9_01_daemon_watches_specs(lab: Lab) -> None:
    """Saved, edited, broken and repaired: applied, applied, kept as it was (and healed), applied."""
    daemon = lab.daemon()
    path = lab.write("a.yaml", quick("a", "one"))
    await_text(lab, "a", "one")
    lab.await_ready("Entry/a")
    lab.write("a.yaml", quick("a", "two"))
    await_text(lab, "a", "two")
    lab.await_ready("Entry/a")

    path.write_text(BROKEN)
    broken = lab.await_reason("Entry/a", "InvalidSpec")
    assert broken["ready"] == "False"
    # what was wanted last is still wanted, and kept that way
    lab.spoil("a", None)
    await_text(lab, "a", "two")
    assert lab.status("Entry/a")["reason"] == "InvalidSpec"
    assert "remove" not in lab.calls("a")
    shown = json.loads(lab.ok("get", "Entry/a", "-o", "json"))
    assert "a.yaml:6:1" in shown["message"]
    assert "a.yaml:6:1" in lab.ok("describe", "Entry/a")
    doctor = lab.run("doctor")
    assert doctor.code == 1
    assert "a.yaml:6:1" in doctor.out

    path.write_text(quick("a", "three"))
    await_text(lab, "a", "three")
    lab.await_ready("Entry/a")
    assert lab.run("doctor").code == 0
    assert daemon.terminate() == 0


def test_a_file_that_is_broken_when_the_daemon_starts_freezes_its_resources(lab: Lab) -> None:
    """What is known in stored form only is neither deleted nor changed, until the file can be read again."""
    lab.configure(prune=True)
    path = lab.write("a.yaml", quick("a", "one"))
    lab.write("b.yaml", quick("b", "one"))
    first = lab.daemon()
    lab.await_ready("Entry/a", "Entry/b")
    assert first.terminate() == 0
    path.write_text(BROKEN)

    daemon = lab.daemon()
    frozen = lab.await_reason("Entry/a", "InvalidSpec")
    assert "a.yaml:6:1" in frozen["message"]
    lab.spoil("b", {"text": "spoiled"})
    await_text(lab, "b", "one")
    assert lab.text_of("a") == "one"
    assert lab.calls("a") == ["number", "write", "stamp"]
    path.write_text(quick("a", "two"))
    await_text(lab, "a", "two")
    lab.await_ready("Entry/a")
    assert daemon.alive


def test_what_was_renamed_and_broken_in_one_go_is_not_deleted(lab: Lab) -> None:
    """The broken file may hold what the other file no longer has: absence means nothing until it is repaired."""
    path = lab.write("a.yaml", quick("a"))
    lab.write("b.yaml", quick("b"))
    lab.daemon("--prune")
    lab.await_ready("Entry/a", "Entry/b")
    path.write_text(BROKEN)
    lab.await_reason("Entry/a", "InvalidSpec")
    path.rename(lab.specs / "c.yaml")
    told = lab.await_reason("Entry/a", "SpecInvalid")
    assert "c.yaml:6:1" in told["message"]
    assert stays(lambda: lab.text_of("a") == "hello", QUIET)
    (lab.specs / "c.yaml").unlink()
    await_text(lab, "a", None)
    assert lab.text_of("b") == "hello"


def test_what_was_renamed_and_broken_while_no_daemon_ran_is_not_deleted(lab: Lab) -> None:
    path = lab.write("a.yaml", quick("a"))
    lab.write("b.yaml", quick("b"))
    lab.ok("apply", lab.specs, "--yes")
    path.unlink()
    broken = lab.write("c.yaml", BROKEN)
    assert "1 to delete" not in lab.run("plan", lab.specs, "--prune").out
    lab.daemon("--prune")
    lab.await_reason("Entry/a", "SpecInvalid")
    assert stays(lambda: lab.text_of("a") == "hello", QUIET)
    broken.unlink()
    await_text(lab, "a", None)
    assert lab.text_of("b") == "hello"


def test_a_broken_document_leaves_the_other_documents_of_its_file_alone(lab: Lab) -> None:
    lab.daemon("--prune")
    lab.write("all.yaml", quick("a", "one"), quick("b", "one"))
    lab.await_ready("Entry/a", "Entry/b")
    lab.write("all.yaml", quick("a", "one", size="large"), quick("b", "two"))
    lab.await_reason("Entry/a", "InvalidSpec")
    assert lab.text_of("a") == "one"
    # the rest of the file is either taken or kept, but never deleted
    assert stays(lambda: lab.text_of("b") in ("one", "two"), QUIET)
    lab.write("all.yaml", quick("a", "three"), quick("b", "three"))
    await_text(lab, "a", "three")
    await_text(lab, "b", "three")


def replaced(path: Path, text: str) -> None:
    """As `sed -i` and most programs save: a new file, renamed over the old one."""
    fresh = path.with_name(f"{path.name}.tmp")
    fresh.write_text(text)
    fresh.replace(path)


def danced(path: Path, text: str) -> None:
    """As vim saves: a swap file, the original renamed to a backup, a new file, the backup removed."""
    swap, backup = path.with_name(f".{path.name}.swp"), path.with_name(f"{path.name}~")
    swap.write_text("swap")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def recreated(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("save", [replaced, danced, recreated])
def test_however_a_file_is_saved_it_is_one_change_and_nothing_is_deleted(lab: Lab, save) -> None:
    lab.configure(prune=True)
    path = lab.write("a.yaml", entry("a", "one"))
    lab.daemon()
    lab.await_ready("Entry/a")
    save(path, entry("a", "two"))
    await_text(lab, "a", "two")
    lab.await_ready("Entry/a")
    assert lab.calls("a") == ["number", "write", "stamp"] * 2
    assert [change["action"] for change in lab.changes("Entry/a")] == ["create", "update"]


def test_a_renamed_or_moved_file_changes_nothing_but_the_place(lab: Lab) -> None:
    lab.configure(prune=True)
    path = lab.write("a.yaml", entry("a"))
    lab.daemon()
    lab.await_ready("Entry/a")
    path.rename(lab.specs / "renamed.yaml")
    until(lambda: lab.status("Entry/a")["owner"].endswith("/renamed.yaml"), lambda: lab.status("Entry/a"))
    (lab.specs / "deep" / "er").mkdir(parents=True)
    (lab.specs / "renamed.yaml").rename(lab.specs / "deep" / "er" / "a.yml")
    until(lambda: lab.status("Entry/a")["owner"].endswith("/deep/er/a.yml"), lambda: lab.status("Entry/a"))
    lab.await_ready("Entry/a")
    assert lab.calls("a") == ["number", "write", "stamp"]
    # a folder that came later is watched as well
    lab.write("deep/er/a.yml", entry("a", "two"))
    await_text(lab, "a", "two")


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def test_switching_branches_back_and_forth_ends_where_the_last_one_is(lab: Lab) -> None:
    """A burst of a hundred file events, with files that come and go in between."""
    lab.configure(prune=True, maxDeletes=100)
    git(lab.specs, "init", "--quiet", "--initial-branch=one")
    for number in range(30):
        lab.write(f"e{number}.yaml", entry(f"e{number}", "one"))
    git(lab.specs, "add", ".")
    git(lab.specs, "commit", "--quiet", "--message=one")
    git(lab.specs, "checkout", "--quiet", "-b", "two")
    for number in range(30):
        lab.write(f"e{number}.yaml", entry(f"e{number}", "two"))
    lab.write("extra.yaml", entry("extra"))
    git(lab.specs, "add", ".")
    git(lab.specs, "commit", "--quiet", "--message=two")
    git(lab.specs, "checkout", "--quiet", "one")
    daemon = lab.daemon()
    everything = [f"Entry/e{number}" for number in range(30)]
    lab.await_ready(*everything)

    for branch in ("two", "one", "two", "one", "two"):
        git(lab.specs, "checkout", "--quiet", branch)
    until(lambda: {there["text"] for there in lab.live().values()} == {"two", "hello"}, lab.live)
    git(lab.specs, "checkout", "--quiet", "one")
    until(lambda: {there["text"] for there in lab.live().values()} == {"one"}, lab.live)
    lab.await_ready(*everything)
    until(lambda: not lab.status("Entry/extra"))
    assert all("remove" not in lab.calls(f"e{number}") for number in range(30))
    assert not [line for line in daemon.entries() if line["level"] == "error"]


def test_without_prune_a_removed_file_is_only_reported(lab: Lab) -> None:
    path = lab.write("a.yaml", quick("a"))
    lab.write("b.yaml", quick("b"))
    lab.daemon()
    lab.await_ready("Entry/a", "Entry/b")
    path.unlink()
    lab.await_reason("Entry/a", "NotInSpecs")
    assert stays(lambda: lab.text_of("a") == "hello", QUIET)
    described = lab.ok("describe", "Entry/a")
    assert "vanished" in described
    assert "a.yaml no longer has it" in described
    # it is nobody's any more, so it is not healed either
    lab.spoil("a", {"text": "spoiled"})
    assert stays(lambda: lab.text_of("a") == "spoiled", QUIET)
    lab.write("a.yaml", quick("a"))
    await_text(lab, "a", "hello")
    lab.await_ready("Entry/a")


def test_with_prune_a_removed_file_is_deleted_and_forgotten(lab: Lab) -> None:
    path = lab.write("a.yaml", entry("a"))
    lab.write("b.yaml", entry("b"))
    lab.daemon("--prune")
    lab.await_ready("Entry/a", "Entry/b")
    path.unlink()
    await_text(lab, "a", None)
    until(lambda: not lab.status("Entry/a"))
    last = lab.changes("Entry/a")[-1]
    assert (last["action"], last["verdict"]) == ("delete", "changed")
    assert "a.yaml no longer has it" in last["why"]
    assert lab.text_of("b") == "hello"


def test_protection_outlives_the_file_that_asked_for_it(lab: Lab) -> None:
    path = lab.write("a.yaml", entry("a", lifecycle={"deletion": "protect"}))
    lab.write("b.yaml", entry("b"))
    lab.daemon("--prune")
    lab.await_ready("Entry/a", "Entry/b")
    path.unlink()
    lab.await_reason("Entry/a", "Protected")
    assert stays(lambda: lab.text_of("a") == "hello", QUIET)
    refused = lab.run("delete", "Entry/a", "--yes")
    assert refused.code == 7
    assert "protected" in refused.err


def test_the_brake_holds_although_each_pass_deletes_just_one(lab: Lab) -> None:
    """Six resources of six targets vanish at once: six passes of one delete each, and none of them is made."""
    kept = entry("kept", target="k")
    lab.write("all.yaml", kept, *(entry(f"e{number}", target=f"t{number}") for number in range(6)))
    lab.daemon("--prune")
    refs = [f"Entry/e{number}" for number in range(6)]
    lab.await_ready("Entry/kept", *refs)
    replaced(lab.specs / "all.yaml", kept)
    for ref in refs:
        told = lab.await_reason(ref, "TooManyDeletes")
        assert "6 deletes" in told["message"]
        assert "maxDeletes 5" in told["message"]
    assert stays(lambda: len(lab.live()) == 7, QUIET)
    # one comes back: five are as many as may be deleted
    replaced(lab.specs / "all.yaml", kept + entry("e0", target="t0"))
    until(lambda: set(lab.live()) == {"kept", "e0"}, lab.live)


def test_an_empty_folder_deletes_nothing(lab: Lab) -> None:
    path = lab.write("a.yaml", entry("a"))
    lab.daemon("--prune")
    lab.await_ready("Entry/a")
    path.unlink()
    lab.await_reason("Entry/a", "EmptySource")
    assert stays(lambda: lab.text_of("a") == "hello", QUIET)
    lab.write("b.yaml", entry("b"))
    await_text(lab, "b", "hello")
    await_text(lab, "a", None)


def test_a_folder_that_is_moved_away_deletes_nothing(lab: Lab) -> None:
    lab.write("a.yaml", quick("a"))
    daemon = lab.daemon("--prune")
    lab.await_ready("Entry/a")
    away = lab.root / "away"
    lab.specs.rename(away)
    until(lambda: lab.rows("SELECT * FROM sources WHERE readable = 0"), daemon.err)
    assert stays(lambda: lab.text_of("a") == "hello" and daemon.alive, QUIET)
    away.rename(lab.specs)
    lab.write("a.yaml", quick("a", "two"))
    await_text(lab, "a", "two")
    lab.await_ready("Entry/a")


def test_a_folder_that_is_deleted_and_made_again_is_watched_again(lab: Lab) -> None:
    lab.write("a.yaml", entry("a"))
    daemon = lab.daemon("--prune")
    lab.await_ready("Entry/a")
    shutil.rmtree(lab.specs)
    until(lambda: lab.rows("SELECT * FROM sources WHERE readable = 0"), daemon.err)
    assert lab.text_of("a") == "hello"
    lab.specs.mkdir()
    lab.write("a.yaml", entry("a", "two"))
    await_text(lab, "a", "two")
    lab.write("a.yaml", entry("a", "three"))
    await_text(lab, "a", "three")


def test_a_folder_behind_a_link_is_watched(lab: Lab) -> None:
    link = lab.root / "link"
    link.symlink_to(lab.specs)
    lab.write("a.yaml", entry("a", "one"))
    lab.as_daemon(lab.start("daemon", link)).await_ready()
    lab.await_ready("Entry/a")
    lab.write("a.yaml", entry("a", "two"))
    await_text(lab, "a", "two")


def test_a_folder_that_was_moved_takes_its_resources_along(lab: Lab) -> None:
    """Its files are others now; those that owned the resources are no more, so nobody else can want them."""
    lab.write("a.yaml", entry("a"), entry("b"))
    lab.ok("apply", lab.specs, "--yes")
    moved = lab.root / "moved"
    lab.specs.rename(moved)
    (moved / "a.yaml").write_text(entry("a", "two"))
    daemon = lab.as_daemon(lab.start("daemon", moved, "--prune"))
    await_text(lab, "a", "two")
    lab.await_ready("Entry/a")
    assert lab.status("Entry/a")["owner"] == f"file:{moved}/a.yaml"
    # nobody says that b is not wanted: the folder that had it may only be out of sight
    assert stays(lambda: lab.text_of("b") == "hello", QUIET)
    assert lab.rows("SELECT * FROM problems") == []
    assert daemon.terminate() == 0


def without_override() -> list[str]:
    """A prefix that takes root's right to read everything; nothing is needed for other users."""
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}", "--"] if os.getuid() == 0 else []


def test_a_folder_that_may_not_be_read_deletes_nothing(lab: Lab) -> None:
    lab.write("sub/a.yaml", quick("a"))
    lab.write("b.yaml", quick("b"))
    with lab.prefixed(*without_override()):
        daemon = lab.daemon("--prune")
    lab.await_ready("Entry/a", "Entry/b")
    for folder in (lab.specs / "sub", lab.specs):
        folder.chmod(0)
        try:
            until(lambda: lab.rows("SELECT * FROM problems") or lab.rows("SELECT * FROM sources WHERE readable = 0"))
            assert stays(lambda: set(lab.live()) == {"a", "b"} and daemon.alive, QUIET)
        finally:
            folder.chmod(0o700)
        until(lambda: not lab.rows("SELECT * FROM problems"), lambda: lab.rows("SELECT * FROM problems"))
    lab.write("sub/a.yaml", quick("a", "two"))
    await_text(lab, "a", "two")


def test_an_unmounted_folder_deletes_nothing(lab: Lab) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(lab.specs)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("may not mount here")
    try:
        lab.write("a.yaml", quick("a"))
        daemon: Daemon = lab.daemon("--prune")
        lab.await_ready("Entry/a")
    finally:
        subprocess.run(["umount", "--lazy", str(lab.specs)], check=True, capture_output=True)
    daemon.signal(daemon.RELOAD)
    lab.await_reason("Entry/a", "EmptySource")
    assert stays(lambda: lab.text_of("a") == "hello" and daemon.alive, QUIET)


def test_files_that_are_no_specs_are_no_change(lab: Lab) -> None:
    """Swap files, backups, hidden files and notes: nothing is applied, nothing is a problem."""
    lab.write("a.yaml", entry("a"))
    lab.daemon()
    lab.await_ready("Entry/a")
    for name in (".a.yaml.swp", "a.yaml~", ".hidden.yaml", "#a.yaml#", "notes.txt", ".#a.yaml"):
        (lab.specs / name).write_text("kind: [")
    lab.write("b.yaml", entry("b"))
    lab.await_ready("Entry/b")
    assert lab.rows("SELECT * FROM problems") == []
    assert lab.calls("a") == ["number", "write", "stamp"]


def test_one_daemon_looks_after_a_single_file_as_well(lab: Lab) -> None:
    path = lab.write("only.yaml", entry("a"))
    lab.write("other.yaml", entry("b"))
    daemon = lab.as_daemon(lab.start("daemon", path))
    daemon.await_ready()
    lab.await_ready("Entry/a")
    replaced(path, entry("a", "two"))
    await_text(lab, "a", "two")
    assert lab.text_of("b") is None


def test_a_kind_that_nobody_knows_is_a_problem_with_its_place(lab: Lab) -> None:
    lab.daemon()
    lab.write("x.yaml", document("Entri", "x", {}))
    found = until(lambda: lab.rows("SELECT * FROM problems"))
    assert found[0]["path"].endswith("x.yaml")
    assert (found[0]["line"], found[0]["column"]) == (3, 1)
    assert "Entry" in found[0]["message"]
