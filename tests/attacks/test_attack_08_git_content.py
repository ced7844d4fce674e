"""Attack 8 on git: what somebody who may push can put into a repository, and attack 11: what he cannot read with it."""

from __future__ import annotations

import zlib

import pytest
from git_lab import LINK, SUBMODULE, Repository, document
from stage import CONTROL, Stage

SECRET = "not-for-whoever-can-push"


@pytest.fixture
def repository(stage: Stage) -> Repository:
    made = Repository(stage.root / "origin.git")
    made.commit({"a.yaml": document("one")})
    return made


def validate(stage: Stage, repository: Repository) -> str:
    """What is said of a commit that is not to be valid."""
    ran = stage.run("validate", "--git", repository.url, code=1)
    assert not CONTROL.search(ran.out + ran.err)
    return ran.err


def test_links_lead_nowhere(stage: Stage, repository: Repository) -> None:
    outside = stage.root / "outside.yaml"
    outside.write_text(document(SECRET))
    links = {"link.yaml": (LINK, str(outside)), "up.yaml": (LINK, "../outside.yaml"), "folder": (LINK, "/etc")}
    repository.commit(links)
    said = validate(stage, repository)
    assert said.count("symbolic link") == 3
    assert SECRET not in said


def test_submodules_filters_and_hooks_are_only_text(stage: Stage, repository: Repository) -> None:
    touch = f"touch {stage.root}/pwned"
    repository.commit(
        {
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "{touch}"\n\tupdate = !{touch}\n',
            "x": (SUBMODULE, "1" * 40),
            ".gitattributes": "*.yaml filter=evil diff=evil text eol=crlf ident export-subst\n",
            ".lfsconfig": f"[lfs]\n\turl = {touch}\n",
            ".git-hooks/post-checkout": ("100755", f"#!/bin/sh\n{touch}\n"),
            "a.yaml": document("one", "$Id$\n$Format:%H$"),
        }
    )
    assert "x:0:0: is a submodule" in validate(stage, repository)
    repository.commit({"x": None})
    stage.run("apply", "--git", repository.url, "--yes")
    assert stage.there()["one"]["text"] == "$Id$\n$Format:%H$", "no filter touches what is read"
    assert not list(stage.root.rglob("pwned"))
    assert not list(stage.home.rglob("*.yaml")), "nothing is checked out"


def test_a_tree_with_names_that_climb_is_read_as_names(stage: Stage, repository: Repository) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", stdin=document("climber").encode())
    inner = b"100644 evil.yaml\0" + bytes.fromhex(blob)
    climbing = raw_object(repository, b"tree", b"40000 ..\0" + bytes.fromhex(raw_object(repository, b"tree", inner)))
    commit = repository.git("commit-tree", climbing, "-p", repository.head(), stdin=b"climb", **WHO)
    repository.git("update-ref", "refs/heads/main", commit)
    ran = stage.run("validate", "--git", repository.url, code=None)
    assert ran.code in (0, 1, 6)
    assert not list(stage.root.rglob("evil.yaml"))


WHO = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def raw_object(repository: Repository, kind: bytes, content: bytes) -> str:
    """An object that git itself would not make. Its id."""
    return repository.git("hash-object", "--literally", "-t", kind.decode(), "-w", "--stdin", stdin=content)


def test_a_tree_that_unfolds_without_end_is_given_up(stage: Stage, repository: Repository) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"x: 1\n")
    below = f"100644 blob {blob}"
    kind = "blob"
    for _ in range(7):  # 10 ** 7 paths
        mode = "100644" if kind == "blob" else "040000"
        lines = "".join(f"{mode} {kind} {below.rpartition(' ')[2]}\tn{number}\n" for number in range(10))
        below, kind = repository.git("mktree", stdin=lines.encode()), "tree"
    commit = repository.git("commit-tree", below, "-p", repository.head(), stdin=b"bomb", **WHO)
    repository.git("update-ref", "refs/heads/main", commit)
    said = validate(stage, repository)
    assert "more than 32,000,000 bytes" in said


def test_a_blob_that_unfolds_to_a_hundred_times_its_size_is_not_read(stage: Stage, repository: Repository) -> None:
    content = b"#" * 30_000_000
    assert len(zlib.compress(content, 1)) < 500_000
    repository.commit({"bomb.yaml": content})
    assert "bomb.yaml:0:0: has 30,000,000 bytes" in validate(stage, repository)


def test_who_can_push_reads_neither_files_nor_variables(stage: Stage, repository: Repository) -> None:
    place = stage.home / "secrets" / "token"
    place.parent.mkdir(mode=0o700)
    place.write_text(SECRET)
    spec = {"password": {"fromFile": str(place)}}
    repository.commit({"a.yaml": document("one", **spec)})
    assert "git.files allows none" in (said := validate(stage, repository))
    repository.commit({"a.yaml": document("one", password={"fromEnv": "RECONCILER_SECRET_X"})})
    ran = stage.run("validate", "--git", repository.url, code=1, env={"RECONCILER_SECRET_X": SECRET})
    assert "git.env allows none" in ran.err
    assert SECRET not in said + ran.err + ran.out


def test_what_a_commit_says_of_itself_is_text_on_one_line(stage: Stage, repository: Repository) -> None:
    commit = repository.commit(
        {"a.yaml": document("one", "new")}, "\x1b]0;owned\x07 @everyone <script> " + "x" * 5000, author="A\x1b[31m <a>"
    )
    ran = stage.run("apply", "--git", repository.url, "--yes", "-o", "text")
    shown = [ran, stage.run("history", "Entry/one"), stage.run("describe", "Entry/one"), stage.run("events")]
    assert not any(CONTROL.search(one.out + one.err) for one in shown)
    (row,) = stage.rows("SELECT * FROM commits WHERE id = ?", commit)
    assert row["subject"].isprintable()
    assert len(row["subject"]) <= 200


def test_a_plan_of_a_commit_is_refused_when_the_branch_moved_on(stage: Stage, repository: Repository) -> None:
    plan = stage.root / "plan.json"
    stage.run("plan", "--git", repository.url, "--out", str(plan))
    repository.commit({"a.yaml": document("one", "swapped")})
    ran = stage.run("apply", str(plan), code=4)
    assert "stale" in ran.err
    assert stage.there() == {}
    repository.commit({"a.yaml": document("one"), "other.yaml": document("two")})
    stage.run("apply", str(plan))
    assert set(stage.there()) == {"one"}, "what is unrelated makes no plan stale, and is not applied with it"


def test_the_mirror_is_for_its_owner_alone(stage: Stage, repository: Repository) -> None:
    stage.run("validate", "--git", repository.url)
    folder = stage.home / "git"
    assert folder.stat().st_mode & 0o077 == 0
    heads = list(folder.glob("*/head-*"))
    assert [path.stat().st_mode & 0o077 for path in heads] == [0]
