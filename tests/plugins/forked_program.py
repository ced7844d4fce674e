"""`reconciler` for shells: a small program that has a fork of the fork server do the work, with its own streams.

`install` writes it; what a shell then starts takes a few milliseconds instead of the imports of a command. It hands
signals on, and ends as its fork does; when it is killed, the server kills the fork.
"""

# Every command of a page starts it, so it imports next to nothing:
# ruff: noqa: PTH109

from __future__ import annotations

import _signal
import _socket
import os
import sys

from fake_tools import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_TEXT = """#!{python} -IS
import sys
sys.path.insert(0, {plugins!r})
from forked_program import main
main({socket!r})
"""


def install(folder: Path, socket: Path) -> None:
    """Put it into a folder for PATH. socket: the fork server's."""
    program = folder / "reconciler"
    program.write_text(_TEXT.format(python=sys.executable, plugins=os.path.dirname(__file__), socket=str(socket)))  # noqa: PTH120
    program.chmod(0o755)


def main(socket: str) -> None:
    """Be the command; never returns."""
    connection = _socket.socket(_socket.AF_UNIX)
    connection.connect(socket)
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    connection.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    request = {"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "script": ""}
    connection.sendall(plain_json.dumps(request).encode() + b"\n")
    pid = int(_line(connection))
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, lambda given, _frame: os.kill(pid, given))
    code = int(_line(connection))
    if code < 0:
        _signal.signal(-code, _signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _line(connection: _socket.socket) -> bytes:
    """The next line that the server says, byte by byte: there are two, and short ones."""
    said = b""
    while not said.endswith(b"\n"):
        part = connection.recv(1)
        if not part:
            os._exit(1)
        said += part
    return said
