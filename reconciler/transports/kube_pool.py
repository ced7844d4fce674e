"""Kept connections to API servers: a kubeconfig that has not changed is neither read nor shaken hands for again.

A process has one pool (`engine.runtime`). A look and every step of a change borrow a transport for themselves, and for
many resources of one cluster that is many a second. What discovery said is not kept: each borrower asks anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from reconciler.transports.https import Https
    from reconciler.transports.kube import KubeTransport
    from reconciler.transports.kubeconfig import Access, KubeconfigPolicy

MAX_IDLE = 30.0
MAX_AGE = 60.0
"""Seconds after which credentials are read again: files that a kubeconfig names, and programs, may give new ones."""


class _Key(NamedTuple):
    """What a connection depends on. stamp: of the kubeconfig's content."""

    path: Path
    stamp: tuple[int, ...]
    context: str
    policy: KubeconfigPolicy


@dataclass(slots=True, eq=False)
class _Kept:
    """Connections to one server. users: who has borrowed them now. made, used: seconds of the monotonic clock."""

    access: Access
    https: Https
    made: float
    used: float
    users: int = 0


class KubePool:
    """Lends transports; closing one gives it back. Safe to share between threads. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[_Key, _Kept] = {}
        self._closed = False

    def lend(self, kubeconfig: Path, context: str, policy: KubeconfigPolicy) -> KubeTransport:
        """A transport for one borrower, who closes it. Raises TerminalError for what the policy refuses."""
        from reconciler.transports.https import Https  # noqa: PLC0415 - not every process asks an API
        from reconciler.transports.kube import KubeTransport  # noqa: PLC0415 - likewise
        from reconciler.transports.kubeconfig import read_access  # noqa: PLC0415 - likewise

        key = _Key(kubeconfig, _stamp(kubeconfig), context, policy)
        kept = self._take(key)
        if kept is None:
            access = read_access(kubeconfig, context, policy)
            kept = self._add(key, access, Https(access))
        chosen = kept
        return KubeTransport.over(chosen.access, chosen.https, lambda: self._give_back(chosen))

    def close(self) -> None:
        """Close every connection that nobody has borrowed, and keep none from now on that is given back."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, {}
            unused = [one for one in kept.values() if not one.users]
        for one in unused:
            one.https.close()

    def _take(self, key: _Key) -> _Kept | None:
        """What is kept for a key. What is too old, or leads to the same file as it was before, is kept no longer."""
        now = self._clock()
        with self._lock:
            over = [other for other, one in self._kept.items() if self._is_over(other, one, key, now)]
            dropped = [self._kept.pop(other) for other in over]
            found = self._kept.get(key)
            if found is not None:
                found.users += 1
        for one in dropped:
            if not one.users:
                one.https.close()
        return found

    def _is_over(self, other: _Key, one: _Kept, key: _Key, now: float) -> bool:
        is_idle = not one.users and now - one.used > MAX_IDLE
        return is_idle or now - one.made > MAX_AGE or (other.path == key.path and other.stamp != key.stamp)

    def _add(self, key: _Key, access: Access, https: Https) -> _Kept:
        now = self._clock()
        added = _Kept(access, https, now, now, users=1)
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                if not self._closed:
                    self._kept[key] = added
                return added
            found.users += 1
        https.close()  # somebody was faster
        return found

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            kept.used = self._clock()
            is_last = not kept.users and kept not in self._kept.values()
        if is_last:
            kept.https.close()


def _stamp(path: Path) -> tuple[int, ...]:
    """Another one whenever the file is another one or was written to; () for one that cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
