"""One watch that is kept open: connect, say that something may have been missed, pass on events, connect again.

A thread each, started and ended by `watching`. Where it left off it goes on, unless the connection broke: then the
server may be another one than before, restored or made anew, so that whoever listens looks at everything once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.daemon.backoff import Pace
from reconciler.errors import ReconcilerError
from reconciler.kind import Watch
from reconciler.model.marks import FIELD_MANAGER, MANAGED_BY

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport
    from reconciler.transports.kube_watch import KubeWatch

log = logging.getLogger(__name__)
LENGTH = 300.0
"""Seconds after which a watch is begun anew at the latest, so that a connection that died unnoticed is found."""
SHORTEST = 1.0
"""Seconds from one beginning to the next at least, whatever the server does."""
STEADY = 10.0
"""Seconds that a watch has to live, so that its end is no failure like the one before."""
_OURS = f"{MANAGED_BY}={FIELD_MANAGER}"


class LiveStream:
    """The events of one type in one cluster, those of our objects.

    connect: gives the cluster's API. heard: called with the labels of an object that something happened to. missed:
    called when anything may have happened since events were passed on last. broke: called when a watch broke.
    """

    def __init__(
        self,
        watch: Watch,
        connect: Callable[[], KubeTransport],
        pace: Pace,
        heard: Callable[[Mapping[str, str]], None],
        missed: Callable[[], None],
        broke: Callable[[], None] = lambda: None,
    ) -> None:
        self.watch = watch
        self._connect = connect
        self._pace = pace
        self._heard = heard
        self._missed = missed
        self._broke = broke
        self._revision = ""
        self._told = ""
        self._ended = threading.Event()
        self._current: KubeWatch | None = None
        self._thread = threading.Thread(target=self._loop, name=f"watch {watch.cluster}/{watch.kind}", daemon=True)
        self.is_open = False

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching, at once: who waits for an event stops waiting. `join` waits for it."""
        self._ended.set()
        current = self._current
        if current is not None:  # one that comes into being just now sees that this has ended
            current.cancel()

    def join(self, timeout: float) -> bool:
        """False when it still runs after `timeout` seconds: connecting to what does not answer cannot be cut short."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        failures = 0
        while not self._ended.is_set():
            started = time.monotonic()
            try:
                self._follow()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, looks go on, and it is tried again
                failures = 1 if time.monotonic() - started > STEADY else failures + 1
                self._revision = ""
                self.is_open = False
                self._tell(error)
            self.is_open = False
            rest = self._pace.back_off(failures) if failures else 0.0
            self._ended.wait(max(rest, started + SHORTEST - time.monotonic()))

    def _follow(self) -> None:
        """One connection, until its time is over."""
        with self._connect() as api:
            path = api.resource_path(self.watch.api_version, self.watch.kind)
            if not self._revision:
                self._revision = api.revision(path)
                self._missed()
            length = LENGTH * random.uniform(0.8, 1.0)  # noqa: S311 - so that not all are begun anew together
            options = {"resource_version": self._revision, "label_selector": _OURS}
            with api.watch(path, **options, timeout=length, metadata_only=True) as current:
                self._current = current
                if self._ended.is_set() or not current.begin():
                    return
                self._opened()
                for event in current:
                    self._revision = event.resource_version or self._revision
                    if event.type != "BOOKMARK":
                        self._heard(_labels(event.metadata))

    def _opened(self) -> None:
        self.is_open = True
        if self._told:
            log.info("%s is watched again", self._named)
        self._told = ""

    def _tell(self, error: Exception) -> None:
        """What is wrong, once until it is something else or over."""
        if self._ended.is_set():
            return
        self._broke()
        said = f"{type(error).__name__}: {error}"
        if said == self._told:
            return
        self._told = said
        consequence = "what it shows is seen at the next interval until that works again"
        is_foreseen = isinstance(error, ReconcilerError)
        log.log(
            logging.WARNING if is_foreseen else logging.ERROR,
            *("%s cannot be watched, so %s: %s", self._named, consequence, error if is_foreseen else said),
        )

    @property
    def _named(self) -> str:
        return f"{self.watch.kind} in cluster {self.watch.cluster}"


def _labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    found = metadata.get("labels")
    return {name: str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}
