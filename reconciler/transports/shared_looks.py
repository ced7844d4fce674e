"""Looks that many threads want of the same thing at once: one serves all who asked before it began.

Used by `git_remote` for branches, which all projects of a repository look at. No answer is older than its question, so
nothing has to be thrown away in time; and what failed is nobody's answer but of who looked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

_POLL = 0.1
_MOMENT = 0.001

T = TypeVar("T")


@dataclass(slots=True)
class _Line:
    """Those who want one thing. began: when the last look that succeeded began, in the order of all moments."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    asking: int = 0
    began: int = -1
    answer: Any = None


class SharedLooks:
    """Safe to share between threads. Keeps nothing once nobody asks any more."""

    def __init__(self) -> None:
        self._moments = count()
        self._lines: dict[Hashable, _Line] = {}
        self._lock = threading.Lock()

    def ask(self, key: Hashable, look: Callable[[], T], sleep: Callable[[float], None]) -> T:
        """What `look` gives, or gave somebody else who began after this was called. key: of what is looked at.

        sleep: as `Context.sleep`; it is called while others look, so that waiting ends when nothing more may be done.
        """
        with self._in_line(key) as line:
            asked = next(self._moments)
            while not line.turn.acquire(timeout=_POLL):
                sleep(_MOMENT)
            try:
                if line.began < asked:
                    began = next(self._moments)
                    line.answer = look()
                    line.began = began
                answer: T = line.answer
                return answer
            finally:
                line.turn.release()

    @contextmanager
    def _in_line(self, key: Hashable) -> Iterator[_Line]:
        with self._lock:
            line = self._lines.setdefault(key, _Line())
            line.asking += 1
        try:
            yield line
        finally:
            with self._lock:
                line.asking -= 1
                if not line.asking:
                    del self._lines[key]
