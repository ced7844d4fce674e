"""What is decided about a synchronization without any node: differences, conflicts, digests, and reading rsync."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_store import spec_of

from reconciler.kinds.node_pair.nodes.replacing import coded
from reconciler.kinds.node_pair.nodes.sums import digest, roots
from reconciler.kinds.node_pair.rsync_output import SyncedFile, failed_files, itemized
from reconciler.kinds.node_pair.rsync_parts import parts_of
from reconciler.kinds.node_pair.spec import Role
from reconciler.kinds.node_pair.syncing import conflict_between, differing

PATHS = st.sampled_from([f"/etc/app/{name}" for name in ("a", "b", "c", "d é\n")])
SUMS = st.dictionaries(PATHS, st.sampled_from(["0" * 64, "1" * 64, "2" * 64]), max_size=4)


def sides(master: Mapping[str, str], backup: Mapping[str, str]) -> dict[Role, Mapping[str, str]]:
    return {"master": master, "backup": backup}


@given(SUMS, SUMS)
def test_files_differ_where_they_are_not_the_same_on_both(one: dict[str, str], other: dict[str, str]) -> None:
    found = differing(one, other)
    assert found == differing(other, one)
    assert found == sorted(found)
    assert (found == []) == (one == other)
    assert all(one.get(path) != other.get(path) for path in found)
    assert {path for path in {*one, *other} if path not in found} <= {*one} & {*other}


@given(SUMS, SUMS)
def test_a_digest_is_equal_for_equal_files_only_and_does_not_depend_on_order(
    one: dict[str, str], other: dict[str, str]
) -> None:
    assert (digest(one) == digest(other)) == (one == other)
    assert digest(dict(reversed(one.items()))) == digest(one)
    assert len(digest(one)) == 64
    assert set(digest(one)) <= set("0123456789abcdef")


def test_a_digest_tells_a_file_from_two_that_would_read_the_same() -> None:
    assert digest({"/a": "x", "/b": "y"}) != digest({"/a": "x\0y /b"})
    assert digest({}) != digest({"": ""})


@given(SUMS, SUMS, SUMS)
def test_only_changes_on_both_sides_that_are_not_alike_are_a_conflict(
    before: dict[str, str], master: dict[str, str], backup: dict[str, str]
) -> None:
    baseline = sides(before, before)
    assert conflict_between(baseline, sides(master, before)) == ""
    assert conflict_between(baseline, sides(before, backup)) == ""
    assert conflict_between(baseline, sides(master, master)) == ""
    assert conflict_between({}, sides(master, backup)) == ""
    apart = differing(master, backup)
    both = any(master.get(path) != before.get(path) for path in apart) and any(
        backup.get(path) != before.get(path) for path in apart
    )
    assert bool(conflict_between(baseline, sides(master, backup))) == both


def test_a_conflict_names_what_changed_where() -> None:
    baseline = sides({"/a": "1", "/b": "1"}, {"/a": "1", "/b": "1"})
    told = conflict_between(baseline, sides({"/a": "2", "/b": "1"}, {"/a": "1"}))
    assert told == "the configuration was changed on both sides: on the master /a and on the backup /b"
    many = {f"/{number}": "2" for number in range(7)}
    assert "/0, /1, /2, /3, /4 and 2 more" in conflict_between(sides({}, {}), sides(many, {"/x": "3"}))


SAID = r"""sending incremental file list
.d..t...... ./
cd+++++++++ sub/
>f+++++++++ sub/new one
>f.st...... changed
.f...p..... mode
*deleting   gone
*deleting   old/
cL+++++++++ link -> sub/new one
cLc.t...... moved -> x
hf+++++++++ hard => sub/new one
>f+++++++++ caf\#303\#251 \#012 \#134#012 \#377
>f..t...... -lead*ing 'quote"
sent 83 bytes  received 12 bytes
"""


def test_what_rsync_says_is_read() -> None:
    found = itemized(SAID, "/etc/app/")
    assert found.deletions == 2
    assert found.files == (
        SyncedFile("/etc/app/sub/new one", "created"),
        SyncedFile("/etc/app/changed", "updated"),
        SyncedFile("/etc/app/mode", "attributes"),
        SyncedFile("/etc/app/gone", "deleted"),
        SyncedFile("/etc/app/old/", "deleted"),
        SyncedFile("/etc/app/link", "created"),
        SyncedFile("/etc/app/moved", "updated"),
        SyncedFile("/etc/app/hard", "created"),
        SyncedFile("/etc/app/café \n \\#012 \udcff", "created"),
        SyncedFile("/etc/app/-lead*ing 'quote\"", "updated"),
    )
    assert itemized("some words\n>f+++++++++ x\n").files == (SyncedFile("x", "created"),)


COMPLAINTS = """rsync: [sender] send_files failed to open "/conf/sub/secret" (in data): Permission denied (13)
rsync: [receiver] mkstemp "/etc/app/.locked.a1B2c3" failed: Operation not permitted (1)
rsync: [receiver] rename "/etc/app/.fixed.hq1fzF" -> "sub/fixed": Operation not permitted (1)
rsync: [generator] failed to set times on "/etc/app/.": Operation not permitted (1)
file has vanished: "/conf/brief" (in data)
rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1865) [generator=3.5.0]
"""


def test_what_rsync_complains_of_is_read() -> None:
    found = failed_files(COMPLAINTS, "/etc/app", "conf")
    paths = ["/etc/app/sub/secret", "/etc/app/locked", "/etc/app/sub/fixed", "/etc/app/.", "/etc/app/brief"]
    assert found == [SyncedFile(path, "updated", "failed") for path in paths]


def test_what_is_run_deletes_no_more_than_was_named_and_is_safe_for_any_path() -> None:
    sync = {"module": "shop", "paths": {".": "/etc/shop", "-x/a b": "/srv/-y/"}}
    spec = spec_of(spec={**spec_of_values(), "rsync": {"sync": sync, "port": 8730, "timeout": "5s"}})
    assert spec.rsync is not None
    one, two = parts_of(spec, spec.rsync)
    assert one.command(3)[:2] == ("rsync", "--max-delete=3")
    assert "--dry-run" in one.dry_run
    assert "--dry-run" not in one.command(3)
    assert one.command(0)[-3:] == ("--", "rsync://10.77.0.2:8730/shop/", "/etc/shop/")
    assert two.command(0)[-3:] == ("--", "rsync://10.77.0.2:8730/shop/-x/a b/", "/srv/-y/")


def spec_of_values() -> dict[str, object]:
    nodes = {"master": {"address": "10.77.0.2"}, "backup": {"address": "10.77.0.3"}}
    return {**nodes, "version": "2.0", "commands": {"version": "true"}}


@pytest.mark.parametrize(
    ("given_", "plain"),
    [
        (["/etc/app", "/etc/app/x", "/etc/apple"], ["/etc/app", "/etc/apple"]),
        (["//etc//app/", "/etc/app"], ["/etc/app"]),
        (["/"], ["/"]),
    ],
)
def test_paths_are_walked_once(given_: list[str], plain: list[str]) -> None:
    assert roots(given_) == plain


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_path_becomes_one_word_without_anything_that_a_shell_knows(path: str) -> None:
    word = coded(path)
    assert word.isascii()
    assert not set(word) & set(" \t\n'\"$`*?[]{}()<>|&;!#~%")
