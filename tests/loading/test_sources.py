"""A folder is listed and read without being led out of it, blocked, or misled by what comes and goes."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.loading.loader import DirectorySource, Loader, LoadOptions
from reconciler.loading.sources import SourceError, read_regular, trusted_signature
from reconciler.loading.text import shorten
from tests.loading.conftest import Specs, messages, ref, widget
from tests.loading.kinds_for_tests import KINDS


def names(specs: Specs) -> set[str]:
    return {one.name for one in specs.load_afresh().resources}


def test_yaml_and_yml_are_found_in_every_folder(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.write("x/y/z/b.yml", widget("two"))
    specs.write("x/c.json", widget("three"))
    specs.write("x/README.md", "# not a spec\n")

    assert names(specs) == {"one", "two"}


@pytest.mark.parametrize(
    "name",
    [
        ".a.yaml",
        ".git/a.yaml",
        "x/.hidden/a.yaml",
        ".a.yaml.swp",
        "a.yaml~",
        "#a.yaml#",
        ".#a.yaml",
        "#a.yaml",
        "a.yaml.bak",
    ],
)
def test_hidden_files_and_editors_leftovers_are_ignored(specs: Specs, name: str) -> None:
    specs.write(name, "broken: [")

    result = specs.load()

    assert result.problems == ()
    assert result.owners == frozenset()


def test_a_single_file_may_be_the_root(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one", "size: '{{ n }}'"))
    specs.write("vars.yaml", "n: 4\n")
    specs.write("b.yaml", "broken: [")

    result = Loader(DirectorySource(path), KINDS, LoadOptions()).load()

    assert result.resources[ref("one")].spec == {"size": 4}
    assert specs.owner("a.yaml") in result.owners
    assert specs.owner("b.yaml") not in result.owners


def test_a_root_that_is_a_link_is_followed(specs: Specs, tmp_path: Path) -> None:
    specs.write("a.yaml", widget("one"))
    (tmp_path / "link").symlink_to(specs.root)

    result = Loader(DirectorySource(tmp_path / "link"), KINDS, LoadOptions()).load()

    assert result.resources[ref("one")].source.owner == specs.owner("a.yaml")


def test_a_missing_root_is_not_readable_and_removes_nothing(specs: Specs, tmp_path: Path) -> None:
    specs.write("a.yaml", widget("one"))
    specs.load()
    specs.root.rename(tmp_path / "elsewhere")

    result = specs.load()

    assert not result.readable
    assert set(result.resources) == {ref("one")}
    assert not result.removed
    assert any(message.endswith("specs:0:0: does not exist") for message in messages(result))

    (tmp_path / "elsewhere").rename(specs.root)
    result = specs.load()

    assert result.readable
    assert messages(result) == []
    assert not result.changed


def test_a_root_that_never_existed_is_not_readable(tmp_path: Path) -> None:
    result = Loader(DirectorySource(tmp_path / "nowhere"), KINDS, LoadOptions()).load()

    assert not result.readable
    assert len(result.problems) == 1


def test_a_link_to_a_file_that_is_found_anyway_counts_once(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    (specs.root / "b.yaml").symlink_to("a.yaml")
    (specs.root / "folder").symlink_to(".")

    result = specs.load()

    assert messages(result) == []
    assert result.owners == {specs.owner("a.yaml")}


def test_a_link_into_a_hidden_folder_of_the_root_is_taken(specs: Specs) -> None:
    """As a mounted ConfigMap looks like."""
    specs.write("..2024/a.yaml", widget("one"))
    specs.write("..2024/sub/b.yaml", widget("two"))
    (specs.root / "..data").symlink_to("..2024")
    (specs.root / "a.yaml").symlink_to("..data/a.yaml")
    (specs.root / "sub").symlink_to("..data/sub")

    result = specs.load()

    assert messages(result) == []
    assert set(result.resources) == {ref("one"), ref("two")}
    assert specs.owner("a.yaml") in result.owners


def test_a_link_out_of_the_root_is_a_problem_that_names_it(specs: Specs, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(widget("one"))
    (specs.root / "a.yaml").symlink_to(outside)

    result = specs.load()

    (message,) = messages(result)  # a long path is shortened in its middle
    assert message.startswith(f"a.yaml:0:0: is a link to {str(outside)[:40]}")
    assert message.endswith("outside of the specs")
    assert result.broken == {specs.owner("a.yaml")}
    assert result.resources == {}
    assert result.readable


def test_a_linked_folder_outside_is_a_problem_and_hides_what_may_be_there(specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.yaml").write_text(widget("one"))
    (specs.root / "team").symlink_to(tmp_path / "outside")

    result = specs.load()

    assert messages(result) == [f"team:0:0: is a link to {shorten(f'{tmp_path}/outside')}, outside of the specs"]
    assert result.resources == {}
    assert not result.readable


def test_a_sibling_with_the_same_beginning_is_outside(specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "specs-other").mkdir()
    (tmp_path / "specs-other" / "a.yaml").write_text(widget("one"))
    (specs.root / "a.yaml").symlink_to(tmp_path / "specs-other" / "a.yaml")

    assert "outside of the specs" in specs.problem()


def test_a_link_to_nothing_is_a_problem(specs: Specs) -> None:
    (specs.root / "a.yaml").symlink_to("nowhere.yaml")
    (specs.root / "loop.yaml").symlink_to("loop.yaml")

    assert len(specs.load().problems) == 2


def test_links_that_are_no_specs_are_ignored(specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("text")
    (specs.root / "README").symlink_to(tmp_path / "README")
    (specs.root / "dangling").symlink_to("nowhere")

    assert specs.load().problems == ()


def test_folders_that_link_to_each_other_end(specs: Specs) -> None:
    specs.write("x/a.yaml", widget("one"))
    (specs.root / "x" / "up").symlink_to("..")
    specs.write(".h/b.yaml", widget("two"))
    (specs.root / ".h" / "again").symlink_to("../.h")
    (specs.root / "h").symlink_to(".h")

    assert names(specs) == {"one", "two"}


def test_a_link_swapped_after_listing_is_not_followed(specs: Specs, tmp_path: Path) -> None:
    path = specs.write("a.yaml", widget("one"))
    source = DirectorySource(specs.root)
    source.list()
    outside = tmp_path / "outside.yaml"
    outside.write_text("secret: 1\n")

    path.unlink()
    path.symlink_to(outside)

    with pytest.raises(SourceError, match="leads out of"):
        source.read("a.yaml")


def test_a_folder_swapped_for_a_link_after_listing_is_not_followed(specs: Specs, tmp_path: Path) -> None:
    specs.write("x/a.yaml", widget("one"))
    source = DirectorySource(specs.root)
    source.list()
    (specs.root / "x").rename(tmp_path / "x")
    (specs.root / "x").symlink_to(tmp_path / "x")

    with pytest.raises(SourceError, match="leads out of"):
        source.read("x/a.yaml")


@pytest.mark.parametrize("path", ["../outside.yaml", "x/../../outside.yaml"])
def test_paths_that_climb_out_are_not_read(specs: Specs, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.yaml").write_text("a: 1\n")
    (specs.root / "x").mkdir()

    with pytest.raises(SourceError, match="leads out of"):
        DirectorySource(specs.root).read(path)


def test_a_fifo_is_a_problem_at_once(specs: Specs) -> None:
    os.mkfifo(specs.root / "a.yaml")
    started = time.monotonic()

    assert specs.problem() == "a.yaml:0:0: is not a regular file"
    with pytest.raises(SourceError, match="is not a regular file"):
        read_regular(str(specs.root / "a.yaml"), 100)
    assert time.monotonic() - started < 5


def test_a_fifo_swapped_in_while_a_file_is_opened_does_not_block(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    regular = specs.write("regular.yaml", "a: 1\n").stat()
    os.mkfifo(specs.root / "a.yaml")
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    signal.alarm(10)  # ends the test run rather than to hang it
    try:
        with pytest.raises(SourceError, match="is not a regular file"):
            read_regular(str(specs.root / "a.yaml"), 100)
    finally:
        signal.alarm(0)


def test_devices_and_sockets_are_problems(specs: Specs) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(specs.root / "s.yaml"))
        assert specs.problem() == "s.yaml:0:0: is not a regular file"
    with pytest.raises(SourceError, match="is not a regular file"):
        read_regular("/dev/zero", 100)


def test_a_folder_named_like_a_file_is_a_folder(specs: Specs) -> None:
    specs.write("x.yaml/a.yaml", widget("one"))

    assert names(specs) == {"one"}


def test_a_fifo_in_place_of_a_file_keeps_what_was_valid(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one"))
    specs.load()
    path.unlink()
    os.mkfifo(path)

    result = specs.load()

    assert set(result.resources) == {ref("one")}
    assert result.broken == {specs.owner("a.yaml")}


def test_a_huge_file_is_refused_by_its_size(specs: Specs) -> None:
    path = specs.write("a.yaml", "a: 1\n")
    os.truncate(path, 100_000_000)
    started = time.monotonic()

    assert specs.problem() == "a.yaml:0:0: has 100,000,000 bytes, more than 10,000,000"
    assert time.monotonic() - started < 5


def test_a_file_that_vanishes_while_it_is_read_is_a_problem_for_once(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one"))
    specs.load()
    path.write_text(widget("one", "size: 2"))
    listing = specs.source.list
    specs.source.list = lambda: (listing(), path.unlink(missing_ok=True))[0]  # type: ignore[method-assign]

    result = specs.load()

    assert messages(result) == ["a.yaml:0:0: vanished while it was read"]
    assert set(result.resources) == {ref("one")}
    assert not result.removed
    assert specs.load().removed == {ref("one")}


def test_a_name_that_is_not_utf_8_is_a_problem(specs: Specs) -> None:
    name = os.fsdecode(b"caf\xe9.yaml")
    (specs.root / name).write_text(widget("one"))

    result = specs.load()

    assert messages(result) == [r"caf\xe9.yaml:0:0: has a name that is not UTF-8"]
    assert all(problem.owner.encode() for problem in result.problems)


def test_a_name_with_control_characters_cannot_disturb_a_terminal(specs: Specs) -> None:
    specs.write("a\x1b[31m\n.yaml", "x: [")

    assert all(problem.path.isprintable() for problem in specs.load().problems)


@pytest.mark.parametrize(
    ("modified", "changed", "is_trusted"),
    [
        (-1_000_000_001, -1_000_000_001, True),
        (-10_000_001, -10_000_001, False),  # younger than a tick of a slow clock may be
        (-1_000_000_001, -10_000_001, False),
        (-1_000_000_000, -1_000_000_000, False),  # whole seconds: the file system may know no finer ones
        (-5_000_000_000, -5_000_000_000, True),
        (1_000_000_001, -1_000_000_001, False),
    ],
)
def test_times_are_trusted_only_when_another_edit_would_leave_others(
    tmp_path: Path, modified: int, changed: int, is_trusted: bool
) -> None:
    now = 1_700_000_000_000_000_000
    status = SimpleNamespace(st_mtime_ns=now + modified, st_ctime_ns=now + changed, st_size=1, st_ino=2, st_dev=3)

    assert (trusted_signature(status, now) is not None) is is_trusted  # type: ignore[arg-type]


def test_two_edits_within_one_tick_of_the_clock_are_both_seen(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one", "size: 1"))
    specs.load()
    times = path.stat()
    path.write_text(widget("one", "size: 2"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert specs.load().changed == {ref("one")}


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that an unprivileged user may enter; root becomes that user, so that permissions count."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o777)
        if os.geteuid() != 0:
            yield root
            return
        os.seteuid(65534)
        try:
            yield root
        finally:
            os.seteuid(0)


def test_a_file_without_permission_is_a_problem(as_nobody: Path) -> None:
    specs = Specs(as_nobody)
    path = specs.write("a.yaml", widget("one"))
    specs.load()
    path.chmod(0)
    os.utime(path, (1, 1))

    result = specs.load()

    assert messages(result) == ["a.yaml:0:0: cannot be read: Permission denied"]
    assert set(result.resources) == {ref("one")}


def test_a_folder_without_permission_hides_its_files_and_removes_nothing(as_nobody: Path) -> None:
    specs = Specs(as_nobody)
    specs.write("x/a.yaml", widget("one"))
    specs.write("b.yaml", widget("two"))
    specs.load()
    (specs.root / "x").chmod(0)
    try:
        result = specs.load()
    finally:
        (specs.root / "x").chmod(0o700)

    assert not result.readable
    assert set(result.resources) == {ref("one"), ref("two")}
    assert result.broken == {specs.owner("x"), specs.owner("x/a.yaml")}
    assert messages(specs.load()) == []
