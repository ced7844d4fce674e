"""Notices that something moved in the spec folder, never what. Run by `daemon.service`.

One watchdog observer; events are gathered until `quiet` seconds pass without one, or `longest` seconds in all, so that
an editor's rename dance and a `git pull` are one reload. The kernel watches a folder, not a name: when the name leads
to another folder than before (moved away, made again, mounted over), that one is watched from then on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

log = logging.getLogger(__name__)
ROOT_CHECK = 1.0
_READS = frozenset({"opened", "closed_no_write"})
_ENDS = frozenset({"deleted", "moved"})


class Watcher(FileSystemEventHandler):
    """Calls `moved` once a burst of file events is over. quiet, longest: seconds."""

    def __init__(self, root: Path, moved: Callable[[], None], quiet: float, longest: float) -> None:
        self._root = (root if root.is_dir() else root.parent).resolve()  # of a link, the kernel would watch the link
        self._moved = moved
        self._quiet = quiet
        self._longest = longest
        self._changed = threading.Condition()
        self._first = 0.0
        self._last = 0.0
        self._closed = False
        self._watched: tuple[int, int] | None = None
        self._warned = False
        self._is_over = False
        self._observer = Observer()
        self._thread = threading.Thread(target=self._gather, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch: what moves from here on is noticed."""
        self._observer.start()
        self._watch_root()
        self._thread.start()

    def stop(self) -> None:
        """End both threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._observer.stop()
        self._observer.join()

    @property
    def running(self) -> bool:
        """True between `start` and `stop`."""
        return self._thread.is_alive()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Anything but a read counts; whether it matters is the loader's business."""
        if event.event_type in _READS:
            return
        now = time.monotonic()
        is_end = event.event_type in _ENDS and os.fsdecode(event.src_path) == str(self._root)
        with self._changed:
            self._is_over = self._is_over or is_end
            self._first = self._first or now
            self._last = now
            self._changed.notify_all()

    def _gather(self) -> None:
        while not self._closed:
            is_burst = self._await_burst()
            if self._watch_root() or is_burst:
                self._moved()

    def _await_burst(self) -> bool:
        """True once a burst of events is over; False when none began for a while, or at the end."""
        with self._changed:
            if not self._first and not self._closed:
                self._changed.wait(ROOT_CHECK)
            while self._first and not self._closed:
                left = min(self._last + self._quiet, self._first + self._longest) - time.monotonic()
                if left <= 0:
                    self._first = 0.0
                    return True
                self._changed.wait(left)
            return False

    def _watch_root(self) -> bool:
        """Watch what the name leads to now. True when that is something else than before."""
        there = _identity(self._root)
        with self._changed:
            is_over, self._is_over = self._is_over, False  # another folder may have got the same inode since
        if there == self._watched and not is_over:
            return False
        self._observer.unschedule_all()
        self._watched = there
        if there is not None:
            try:
                self._observer.schedule(self, str(self._root), recursive=True)
            except OSError as error:  # gone again, or the kernel has no watch left: then it is looked at all the time
                if not self._warned:
                    log.warning("%s cannot be watched, so it is read every %g s: %s", self._root, ROOT_CHECK, error)
                self._warned = True
                self._watched = None
            else:
                self._warned = False
        return True


def _identity(folder: Path) -> tuple[int, int] | None:
    """What the name leads to now: device and inode. None for nothing."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
