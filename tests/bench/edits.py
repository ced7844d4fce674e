"""Saving one file of 1,000 beside a daemon with 10,000 resources: how long until it is planned, and what that reads.

Saved is the moment right before the rename that puts the new text in place. Planned is the moment at which somebody
who polls the store sees it: for a new label (nothing to be done) the generation that the status speaks of, for a new
text the change that was begun. Both include the quiet time that the daemon waits for after a file event (20 ms).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from watchdog.events import FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from tests.bench.figures import Figure, at_most, told
from tests.bench.ground import PATIENCE, Daemon, Ground
from tests.bench.measuring import BrokenError, Series

COUNT = 10_000
LABELS = 200
TEXTS = 50
WATCHED = 20
PAUSE = 0.05
RSS = 300.0


def figures() -> Iterator[Figure]:
    """Latency of both kinds of edit, what was opened, memory."""
    ground = Ground("edits")
    files = ground.entries(COUNT)
    ground.command("apply", ground.specs, "--yes")
    with ground.daemon() as daemon, closing(ground.store()) as store:
        daemon.await_rest(COUNT)
        opened = _opened(ground, store, files[:WATCHED])
        yield at_most("files read for each that was edited", opened / WATCHED, 1.0, "")
        labels = _edit(store, files[:LABELS], "env: dev", _planned)
        yield at_most(f"a label edited, to planned: p50 of {LABELS}", labels.percentile(0.5) * 1000, 100, "ms")
        yield at_most("the same: p99", labels.percentile(0.99) * 1000, 250, "ms", f"least {labels.least * 1000:.0f} ms")
        texts = _edit(store, files[-TEXTS:], "text: entry", _begun)
        median, worst = texts.percentile(0.5) * 1000, texts.percentile(0.99) * 1000
        yield told(f"a text edited, to its first step: p50 of {TEXTS}", f"{median:.0f} ms", f"p99 {worst:.0f} ms")
        yield _memory(daemon)


def _memory(daemon: Daemon) -> Figure:
    memory = daemon.memory
    return at_most("memory of the daemon, at its highest", memory["VmHWM"], RSS, "MB", f"now {memory['VmRSS']:.0f} MB")


Seen = Callable[[sqlite3.Connection, str, int], bool]


def _edit(store: sqlite3.Connection, files: list[Path], what: str, seen: Seen) -> Series:
    """Edit the first entry of each file; the seconds from its save until `seen`."""
    return Series(tuple(_one_edit(store, path, what, seen) for path in files))


def _one_edit(store: sqlite3.Connection, path: Path, what: str, seen: Seen) -> float:
    text = path.read_text()
    name = text.partition("name: ")[2].split()[0]
    before = _generation(store, name)
    draft = path.with_suffix(".draft")
    draft.write_text(text.replace(what, f"{what}-edited", 1))
    time.sleep(PAUSE)
    saved = time.perf_counter()
    draft.rename(path)
    while not seen(store, name, before + 1):
        if time.perf_counter() - saved > PATIENCE:
            raise BrokenError(f"the edit of {name} was not seen")
        time.sleep(0.001)
    return time.perf_counter() - saved


def _planned(store: sqlite3.Connection, name: str, generation: int) -> bool:
    return _holds(store, "SELECT 1 FROM statuses WHERE name = ? AND observed_generation = ?", name, generation)


def _begun(store: sqlite3.Connection, name: str, generation: int) -> bool:
    return _holds(store, "SELECT 1 FROM changes WHERE kind = 'Entry' AND name = ? AND generation = ?", name, generation)


def _generation(store: sqlite3.Connection, name: str) -> int:
    query = "SELECT generation FROM resources WHERE kind = 'Entry' AND name = ?"
    return int(store.execute(query, (name,)).fetchone()[0])


def _holds(store: sqlite3.Connection, query: str, *values: object) -> bool:
    return store.execute(query, values).fetchone() is not None


class _Opened(FileSystemEventHandler):
    """Counts every opening of a spec file, as the kernel reports it."""

    def __init__(self) -> None:
        self.count = 0

    def on_opened(self, event: FileSystemEvent) -> None:
        """See FileSystemEventHandler."""
        assert isinstance(event, FileOpenedEvent)
        self.count += str(event.src_path).endswith(".yaml")


def _opened(ground: Ground, store: sqlite3.Connection, files: list[Path]) -> int:
    """How many spec files were opened for these edits, our own openings taken out."""
    counter, observer = _Opened(), Observer()
    observer.schedule(counter, str(ground.specs))
    observer.start()
    try:
        _edit(store, files, "team: t", _planned)
        time.sleep(1.0)
    finally:
        observer.stop()
        observer.join()
    return counter.count - len(files)  # `_one_edit` reads each file once
