"""Output of commands in bounded memory, wherever they run. Used by `process` and `ssh`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

KEPT_BYTES = 1_000_000
"""What is kept of each stream: half of it from the start, half from the end."""
LAST_LINES = 10


class Kept:
    """The two ends of a stream, in bounded memory."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0

    def add(self, chunk: bytes) -> None:
        """Keep what there is room for."""
        room = KEPT_BYTES // 2 - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:] if room < len(chunk) else b""
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
        while self._tail_size - len(self._tail[0] if self._tail else b"") >= KEPT_BYTES // 2:
            self._drop(len(self._tail[0]))
        if self._tail_size > KEPT_BYTES // 2:
            self._drop(self._tail_size - KEPT_BYTES // 2)

    def text(self) -> str:
        """All that was kept."""
        note = f"\n… {self._left_out:,} bytes left out …\n".encode() if self._left_out else b""
        return (bytes(self._head) + note + b"".join(self._tail)).decode("utf-8", "replace")

    def _drop(self, size: int) -> None:
        first = self._tail.popleft()
        if size < len(first):
            self._tail.appendleft(first[size:])
        self._tail_size -= size
        self._left_out += size


class Streamed:
    """Passes output on as text, up to a bound."""

    def __init__(self, receive: Callable[[str], None] | None) -> None:
        self._receive = receive
        self._left = KEPT_BYTES

    def add(self, text: str) -> None:
        """Pass on what is within the bound, and say once when it is reached."""
        if self._receive is None or not text or self._left <= 0:
            return
        self._receive(text[: self._left])
        self._left -= len(text)
        if self._left <= 0:
            self._receive("\n… the rest of the output is not logged …\n")


def last_lines(text: str, count: int = LAST_LINES) -> str:
    """The last lines that say something, cut to 2,000 characters."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])[-2000:]
