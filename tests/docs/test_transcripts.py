"""The rules by which pages are compared with what their commands print: they must let through no wrong page."""

from __future__ import annotations

from pathlib import Path

import pytest
from transcripts import Block, Reader, blocks, commands, mismatch


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["a ... c"], "a b c\n"),
        (["first", "...", "last"], "first\nx\ny\nlast\n"),
        (["first", "...", "last"], "first\nlast\n"),
        (["..."], ""),
        (["done (1.6s)"], "done (12s)\n"),
        (["at 2026-01-01 10:00:00"], "at 2026-12-31T23:59:59Z\n"),
        (["http://127.0.0.1:8080"], "http://127.0.0.1:41234\n"),
        (["a   b", "", "c"], "a b\nc\n\n"),
        ([], "anything\n"),
    ],
)
def test_what_may_differ_is_let_through(expected: list[str], printed: str) -> None:
    assert mismatch(expected, printed) == ""


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["a"], "b\n"),
        (["a"], "a\nb\n"),
        (["a", "b"], "a\n"),
        (["a", "..."], "b\na\n"),
        (["a.c"], "abc\n"),
        (["changed=1"], "changed=2\n"),
        (["1 resources"], "2 resources\n"),
        (["exit 7"], "exit 0\n"),
        (["one ... three"], "one\ntwo three\n"),
    ],
)
def test_what_says_something_else_is_found(expected: list[str], printed: str) -> None:
    assert "printed" in mismatch(expected, printed)


def test_blocks_and_commands_know_their_lines() -> None:
    page = "text\n\n```console\n$ echo a \\\n> b\na b\n$ true\n```\n\n```yaml file=x/y.yaml\na: 1\n```\n"
    console, file = blocks(page)
    assert file == Block("yaml", "x/y.yaml", 11, ("a: 1",))
    assert [(one.text, one.line, one.shown) for one in commands(console)] == [
        ("echo a \\\nb", 4, ("a b",)),
        ("true", 7, ()),
    ]


def follow(tmp_path: Path, text: str) -> int:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    page = folder / "page.md"
    page.write_text(text)
    return Reader(folder, tmp_path / "home").follow(page)


def test_commands_share_folder_and_environment(tmp_path: Path) -> None:
    first = "```sh\nmkdir -p below\ncd below\nexport WHO='a b'\n```\n"
    second = '```console\n$ echo "$WHO in ${PWD##*/}"\na b in below\n```\n'
    assert follow(tmp_path, first + second) == 2


def test_a_failing_command_fails_the_page_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page.md:3: \$ false"):
        follow(tmp_path, "\n```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match="ended with 1"):
        follow(tmp_path, "```sh\nfalse\ntrue\n```\n")


def test_an_endless_command_is_interrupted_once_it_said_what_is_shown(tmp_path: Path) -> None:
    shown = "```console\n$ trap 'exit 0' INT; echo ready; while sleep 0.1; do :; done\nready\n^C\n```\n"
    assert follow(tmp_path, shown) == 1


def test_an_endless_command_that_ends_early_without_saying_it_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ready"):
        follow(tmp_path, "```console\n$ echo other\nready\n^C\n```\n")
