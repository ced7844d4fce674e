"""Somebody who looks at the page all the time: every page in turn, and the live stream. Used by the mixed load."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PAUSE = 0.05


@dataclass(slots=True)
class Viewers:
    """Two threads that read until `stop`. seconds: of each answer. bad: answers that were no success."""

    url: str
    pages: tuple[str, ...]
    seconds: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    streamed: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to look."""
        for work in (self._look, self._stream):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Look away."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def percentile(self, share: float) -> float:
        """Seconds that this share of all answers did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[int(share * (len(ordered) - 1))]

    def _look(self) -> None:
        connection = self._connection()
        while not self._stopped.is_set():
            for path in self.pages:
                started = time.monotonic()
                try:
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != http.client.OK:
                        self.bad.append(f"{path}: {answer.status}")
                except OSError as error:
                    self.bad.append(f"{path}: {error!r}")
                    connection = self._connection()
                self.seconds.append(time.monotonic() - started)
                if self._stopped.wait(PAUSE):
                    break
        connection.close()

    def _stream(self) -> None:
        while not self._stopped.is_set():
            connection = self._connection(timeout=2.0)
            with suppress(OSError):
                connection.request("GET", "/events")
                answer = connection.getresponse()
                while not self._stopped.is_set() and (line := answer.readline()):
                    self.streamed += line.startswith(b"event:")
            connection.close()

    def _connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
