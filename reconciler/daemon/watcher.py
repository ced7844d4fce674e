"""Notices that something moved in the spec folder, never what. Run by `daemon.service`.

One watchdog observer; events are gathered until `quiet` seconds pass without one, or `longest` seconds in all, so that
an editor's rename dance and a `git pull` are one reload.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

_READS = frozenset({"opened", "closed_no_write"})


class Watcher(FileSystemEventHandler):
    """Calls `moved` once a burst of file events is over. quiet, longest: seconds."""

    def __init__(self, root: Path, moved: Callable[[], None], quiet: float, longest: float) -> None:
        self._moved = moved
        self._quiet = quiet
        self._longest = longest
        self._changed = threading.Condition()
        self._first = 0.0
        self._last = 0.0
        self._closed = False
        self._observer = Observer()
        self._observer.schedule(self, str(root if root.is_dir() else root.parent), recursive=True)
        self._thread = threading.Thread(target=self._gather, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._observer.start()
        self._thread.start()

    def stop(self) -> None:
        """End both threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._observer.stop()
        self._observer.join()
        self._thread.join()

    @property
    def running(self) -> bool:
        """True between `start` and `stop`."""
        return self._thread.is_alive()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Anything but a read counts; whether it matters is the loader's business."""
        if event.event_type in _READS:
            return
        now = time.monotonic()
        with self._changed:
            self._first = self._first or now
            self._last = now
            self._changed.notify_all()

    def _gather(self) -> None:
        while True:
            with self._changed:
                while not self._first and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                left = min(self._last + self._quiet, self._first + self._longest) - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._first = 0.0
            self._moved()
