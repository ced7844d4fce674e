"""The watcher by itself, on a real folder: bursts are one call, and what cannot be watched is read all the time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.daemon import watcher as module
from reconciler.daemon.watcher import Watcher
from tests.daemon.lab import until


class Calls:
    """Counts."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(time.monotonic())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Calls]]:
    """Starts watchers of a folder; all are stopped at the end."""
    running: list[Watcher] = []

    def start(root: Path = tmp_path, quiet: float = 0.05, longest: float = 0.5) -> Calls:
        calls = Calls()
        running.append(Watcher(root, calls, quiet, longest))
        running[-1].start()
        return calls

    yield start
    for watcher in running:
        watcher.stop()
        assert not watcher.running


def test_a_burst_is_one_call(tmp_path: Path, watched: Callable[..., Calls]) -> None:
    calls = watched(quiet=0.5, longest=10.0)
    for number in range(100):
        (tmp_path / f"{number}.yaml").write_text("x")
    until(lambda: calls.times)
    time.sleep(1.0)
    assert len(calls.times) == 1


def test_a_burst_that_does_not_end_is_not_waited_for(tmp_path: Path, watched: Callable[..., Calls]) -> None:
    calls = watched(quiet=5.0, longest=0.3)
    begun = time.monotonic()
    while not calls.times:
        (tmp_path / "a.yaml").write_text(str(time.monotonic()))
        time.sleep(0.02)
        assert time.monotonic() - begun < 10


def test_reading_is_no_move(tmp_path: Path, watched: Callable[..., Calls]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x")
    calls = watched()
    time.sleep(0.3)
    seen = len(calls.times)
    for _ in range(20):
        path.read_text()
        list(tmp_path.iterdir())
    time.sleep(0.5)
    assert len(calls.times) == seen


def test_what_is_behind_a_link_is_watched(tmp_path: Path, watched: Callable[..., Calls]) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    calls = watched(root=link)
    (folder / "a.yaml").write_text("x")
    until(lambda: calls.times)


def test_a_folder_that_takes_the_place_of_another_is_watched(tmp_path: Path, watched: Callable[..., Calls]) -> None:
    """Also when it got the same inode, as it may when the other one was deleted."""
    folder = tmp_path / "folder"
    folder.mkdir()
    calls = watched(root=folder)
    for _ in range(3):
        seen = len(calls.times)
        folder.rmdir()
        folder.mkdir()
        until(lambda seen=seen: len(calls.times) > seen)
        time.sleep(2 * module.ROOT_CHECK)
        seen = len(calls.times)
        (folder / "a.yaml").write_text("x")
        until(lambda seen=seen: len(calls.times) > seen)
        (folder / "a.yaml").unlink()
        time.sleep(0.3)


def test_a_folder_that_cannot_be_watched_is_read_all_the_time(
    tmp_path: Path,
    watched: Callable[..., Calls],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where the kernel has no watch left for us; people are told once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(module, "ROOT_CHECK", 0.05)
    monkeypatch.setattr(module.Observer, "schedule", refuse)
    with caplog.at_level(logging.WARNING):
        calls = watched()
        until(lambda: len(calls.times) >= 4)
    assert caplog.text.count("cannot be watched") == 1
    assert "watch limit reached" in caplog.text
