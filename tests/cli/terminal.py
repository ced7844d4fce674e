"""The command line on a pseudo-terminal, as somebody sits before it. Used by the tests of questions and colours."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from place import Place

DEADLINE = 60.0


class Terminal:
    """A command whose standard streams are all one terminal."""

    def __init__(self, place: Place, arguments: tuple[str | Path, ...], env: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconciler.cli.main", *map(str, arguments)],
            env={**place.environ, "TERM": "xterm-256color", "COLUMNS": "200", **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=place.root,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return self._seen.decode(errors="replace")

    def await_text(self, text: str) -> None:
        """Until it shows this."""
        give_up = time.monotonic() + DEADLINE
        while text not in self.text:
            assert self._read(), f"ended without {text!r}:\n{self.text}"
            assert time.monotonic() < give_up, f"no {text!r} in time:\n{self.text}"

    def type(self, keys: str) -> None:
        """Press keys; `\\x03` is ^C."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        give_up = time.monotonic() + DEADLINE
        while self._read():
            assert time.monotonic() < give_up, f"still runs:\n{self.text}"
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        """End it, if it has not ended, and give everything back."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self._ours)

    def _read(self) -> bool:
        """Take what is there, for a moment at most. False at the end."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return True
        try:
            found = os.read(self._ours, 65536)
        except OSError:  # the other end is closed by all
            return False
        self._seen += found
        return bool(found)


def _take_terminal() -> None:
    """Make the terminal that of the new session, so that ^C reaches it."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@contextmanager
def terminal(place: Place, *arguments: str | Path, **env: str) -> Iterator[Terminal]:
    """A command on a terminal, ended at the end."""
    made = Terminal(place, arguments, env)
    try:
        yield made
    finally:
        made.close()
