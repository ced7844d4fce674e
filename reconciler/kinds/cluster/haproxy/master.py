"""What the master process of an HAProxy says on its socket (`haproxy -W -S SOCKET`). Called by `reloading`.

Releases before 2.7 answer `reload` with nothing and load meanwhile; later ones answer with `Success=1` or `Success=0`
once they have. All of them list their processes, and how often loading failed since it last succeeded.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import TransientError, UnreachableError

_MASTER = re.compile(r"(\d+)\s+master\s+(\d+)(?:\s+\[failed: (\d+)\])?")
_WORKER = re.compile(r"(\d+)\s+worker\s")
_CURRENT = "# workers"
_LONGEST_ANSWER = 1_000_000


@dataclass(frozen=True, slots=True)
class Processes:
    """What `show proc` says. reloads: how often it loaded since it was started. failed: how often in vain since it
    last succeeded. workers: process ids of those that take connections."""

    reloads: int
    failed: int
    workers: frozenset[int]


class Master:
    """A master process, by the path of its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def processes(self, timeout: float) -> Processes:
        """What runs now. Raises UnreachableError, also while it loads and cannot be asked."""
        answer = self._ask("show proc", timeout)
        master = _MASTER.search(answer)
        if master is None:
            raise UnreachableError("NoMaster", f"{self._path} does not answer as a master process of HAProxy does")
        current = answer.partition(_CURRENT)[2].partition("\n#")[0]
        workers = frozenset(int(found) for found in _WORKER.findall(current))
        return Processes(int(master[2]), int(master[3] or 0), workers)

    def reload(self, timeout: float) -> None:
        """Have it load its file. Raises TransientError("ReloadFailed") when it says that it could not."""
        answer = self._ask("reload", timeout)
        if "Success=0" in answer:
            said = answer.partition("--\n")[2].strip() or "(it did not say why)"
            raise TransientError("ReloadFailed", f"HAProxy could not load its file:\n{said[-2000:]}")

    def _ask(self, command: str, timeout: float) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout)
                connection.connect(str(self._path))
                connection.sendall(f"{command}\n".encode())
                connection.shutdown(socket.SHUT_WR)  # else it waits for the next command
                answer = b""
                while len(answer) < _LONGEST_ANSWER and (chunk := connection.recv(65536)):
                    answer += chunk
        except OSError as error:
            why = error.strerror or str(error)
            raise UnreachableError(
                "NoMaster", f"HAProxy's master socket {self._path} does not answer: {why}"
            ) from error
        return answer.decode("utf-8", "replace")
