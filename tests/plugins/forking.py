"""Commands as processes that are forks of one that has imported everything: half of a command's time is importing.

For tests that look at what a command printed and did, or at what is left once it was killed. Those that are about the
process itself (what it imports, its own entry in /proc, its terminal) start the installed program.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from forked_program import install

_SERVER = Path(__file__).with_name("fork_server.py")
_PATIENCE = 120.0


class Forked:
    """A command that goes on while the test does: what tests use of a Popen, over a process that is not our child.

    Without `stdout` and `stderr`, `communicate` returns what it printed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: str | Path = ".",
        stdin: str = "",
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        script: str | Path = "",
    ) -> None:
        """argv[0] is the command's own. script: a Python file to run instead of the command line."""
        self.args = list(argv)
        self.returncode: int | None = None
        self._own = [
            tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
            for given in (stdout, stderr)
            if given is None
        ]
        assert len(self._own) != 1, "both or neither"
        self._connection = socket.socket(socket.AF_UNIX)
        request = {"argv": self.args, "env": dict(env), "cwd": str(Path(cwd).absolute()), "script": str(script)}
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            streams = [stream.fileno() for stream in (given, *(self._own or (stdout, stderr))) if stream is not None]
            self._connection.connect(str(_server()))
            socket.send_fds(self._connection, [b"+"], streams)
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._lines = self._connection.makefile("rb")
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        """The exit code, as Popen has it; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = int(self._lines.readline())
            self._lines.close()
            self._connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutExpired, and then it goes on."""
        if self.poll() is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait, and what it printed to both streams; nothing where they were given."""
        self.wait(timeout)
        texts = []
        for stream in self._own:
            stream.seek(0)
            texts.append(stream.read().decode())
        self.close()
        return (texts[0], texts[1]) if texts else ("", "")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    @property
    def is_stopped(self) -> bool:
        """Whether every thread of it has stopped, by a SIGSTOP."""
        states = []
        with suppress(FileNotFoundError):  # it has just ended
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                with suppress(OSError):  # that thread has
                    states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        return bool(states) and all(state in "Tt" for state in states)

    def close(self) -> None:
        """Kill it if it still runs, and let go of what it printed."""
        self.kill()
        self.wait(_PATIENCE)
        for stream in self._own:
            stream.close()


def run_forked(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    timeout: float,
    cwd: str | Path = ".",
    stdin: str = "",
    script: str | Path = "",
) -> subprocess.CompletedProcess[str]:
    """Run `reconciler` with these words (argv[0] is its own) and wait. Raises TimeoutExpired, and then it is gone."""
    process = Forked(argv, env, cwd=cwd, stdin=stdin, script=script)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.close()
    return subprocess.CompletedProcess(process.args, process.returncode or 0, out, err)


def fork_on_path(folder: Path) -> None:
    """Put a `reconciler` into a folder for PATH whose work a fork does."""
    install(folder, _server())


def own_traces() -> set[str]:
    """What is left of the server in this process, as conftest names it: it outlives tests, once one has started it."""
    if not _server.cache_info().currsize:
        return set()
    process = _process()
    assert process.stdin is not None
    number = process.stdin.fileno()
    return {f"process {process.pid}", f"descriptor {number} ({Path(f'/proc/self/fd/{number}').readlink()})"}


@cache
def _process() -> subprocess.Popen[bytes]:
    folder = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [sys.executable, str(_SERVER), str(folder / "socket")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


@cache
def _server() -> Path:
    """The server's socket, once it can be asked."""
    process = _process()
    path = Path(str(process.args[-1]))  # type: ignore[index]  # the list above
    give_up = time.monotonic() + _PATIENCE
    while not path.exists():
        assert process.poll() is None, "the fork server ended"
        assert time.monotonic() < give_up, "the fork server did not start"
        time.sleep(0.02)
    return path
