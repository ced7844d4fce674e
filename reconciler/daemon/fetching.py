"""Keeps a git source up to date beside the reconciling: by the clock, by request, by webhook. Run by `daemon.service`.

One thread fetches, and nobody ever waits for it: what counts is the commit that was accepted last. A fetch that fails
leaves that in force, becomes a problem that everybody sees, and is tried again with growing pauses. A source that is a
folder has nothing to fetch; for it a request is a load.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.daemon.backoff import Pace, draw_jitter, spread
from reconciler.daemon.reload import Reloader
from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.errors import ReconcilerError
from reconciler.model.commit import Commit
from reconciler.store import events

if TYPE_CHECKING:
    from reconciler.loading.git_source import GitSource

log = logging.getLogger(__name__)
SHORTEST = 1.0
"""Seconds from the end of one fetch to the begin of the next, whoever asks."""


class Fetcher:
    """Fetches and has what came loaded. source: None where there is nothing to fetch."""

    def __init__(self, runtime: Runtime, workspace: Workspace, reloader: Reloader, source: GitSource | None) -> None:
        self._runtime = runtime
        self._workspace = workspace
        self._reloader = reloader
        self._source = source
        chosen = runtime.settings.git
        self._pace = Pace(shortest=runtime.settings.backoff.min, longest=runtime.settings.backoff.max)
        self._interval = chosen.interval
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._token = ""
        self._failures = 0
        self._thread = threading.Thread(target=self._loop, name="fetch", daemon=True)
        self.tried = threading.Event()

    @property
    def fetches(self) -> bool:
        """True for a git source."""
        return self._source is not None

    def start(self) -> None:
        """Fetch for the first time, and then again and again."""
        if self._source is None:
            self.tried.set()
            return
        self._thread.start()

    def stop(self) -> None:
        """End the thread; git is ended by `Runtime.shutting_down`."""
        self._closed.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def request(self) -> None:
        """Look now."""
        if self._source is None:
            self._workspace.sync = self._token
            self._reloader.request()
        else:
            self._wanted.set()

    def answer(self, requested: Mapping[str, str]) -> None:
        """Look now, if our source is among those for which that was requested: tokens by source.

        The token is answered in the store, by the load that comes after the fetch.
        """
        for prefix in self._workspace.prefixes:
            token = requested.get(prefix, "")
            if token and token != self._token:  # else it is under way
                self._token = token
                self.request()

    def _loop(self) -> None:
        while not self._closed.is_set():
            self._wanted.clear()
            token = self._token
            self._fetch()
            self._workspace.sync = token
            if token:
                self._reloader.request()
            self.tried.set()
            if not self._closed.wait(SHORTEST):
                self._wanted.wait(self._pause())

    def _pause(self) -> float:
        """Seconds until the next fetch that nobody asked for."""
        if self._failures:
            return self._pace.back_off(self._failures)
        return max(0.0, spread(self._interval, draw_jitter()) - SHORTEST)

    def _fetch(self) -> None:
        """One fetch, and a load when it brought something, or when it begins or ceases to fail."""
        assert self._source is not None
        before, trouble = self._source.mirror.head(), self._source.trouble
        try:
            commit = self._source.fetch(force=self._runtime.settings.git.force_updates)
        except ReconcilerError as error:
            if self._runtime.stopping.is_set():
                return
            self._failed(error.reason, error.message, trouble)
        except Exception as error:  # a full disk, say: it is as good as any other failure, and told as one
            log.exception("the repository could not be fetched")
            self._failed("FetchFailed", f"{type(error).__name__}: {error}", trouble)
        else:
            self._failures = 0
            self._source.trouble = ""
            if trouble:
                self._tell("normal", "FetchedAgain", f"{self._source.place} can be fetched again")
            if before is None or commit.id != before.id:
                self._came(commit)
            if trouble or self._source.commit is None or self._source.commit.id != commit.id:
                self._reloader.request()

    def _came(self, commit: Commit) -> None:
        assert self._source is not None
        log.info("fetched %s", commit)
        self._tell("normal", "Fetched", f"{self._source.place} is at {commit}")

    def _failed(self, reason: str, message: str, trouble: str) -> None:
        assert self._source is not None
        self._failures += 1
        if message != trouble:
            self._source.trouble = message
            log.warning("could not fetch: %s", message)
            self._tell("warning", reason, message)
            self._reloader.request()

    def _tell(self, type_: events.EventType, reason: str, message: str) -> None:
        """An event, where the store takes it: fetching goes on without."""
        try:
            with self._runtime.writing() as connection:
                now = self._runtime.database.now(connection)
                event = events.Event(type_, reason, message, actor=self._runtime.owner.holder)
                events.add(connection, now, [event])
        except ReconcilerError as error:
            log.warning("%s could not be recorded: %s", reason, error)
