"""Commands as processes that are forks of one that has imported everything: half of a command's time is importing.

For tests that wait for a command and look at what it printed and did. Those that are about the process itself (what it
imports, how it dies, its terminal) start the installed program.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_SERVER = Path(__file__).with_name("fork_server.py")
_PATIENCE = 120.0


def run_forked(
    argv: Sequence[str], env: Mapping[str, str], *, timeout: float, cwd: str | Path = ".", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `reconciler` with these words (argv[0] is its own) and wait. Raises TimeoutExpired, and then it is gone."""
    request = {"argv": list(argv), "env": dict(env), "cwd": str(Path(cwd).absolute())}
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        given.write(stdin.encode())
        given.seek(0)
        connection.connect(str(_server()))
        socket.send_fds(connection, [b"+"], [given.fileno(), out.fileno(), err.fileno()])
        connection.sendall(json.dumps(request).encode() + b"\n")
        code = _awaited(connection, argv, timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, code, out.read().decode(), err.read().decode())


def own_traces() -> set[str]:
    """What is left of the server in this process, as conftest names it: it outlives tests, once one has started it."""
    if not _server.cache_info().currsize:
        return set()
    process = _process()
    assert process.stdin is not None
    number = process.stdin.fileno()
    return {f"process {process.pid}", f"descriptor {number} ({Path(f'/proc/self/fd/{number}').readlink()})"}


def _awaited(connection: socket.socket, argv: Sequence[str], timeout: float) -> int:
    with connection.makefile("r") as stream:
        pid = int(stream.readline())
        connection.settimeout(timeout)
        try:
            return int(stream.readline())
        except TimeoutError:
            os.kill(pid, 9)
            raise subprocess.TimeoutExpired(argv, timeout) from None


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
