"""What a lab wrote down of itself before it made anything, so that whoever comes later can remove all of it.

HOME/lab/lab.json     this record       HOME/lab/known_hosts, id       how to log in
HOME/lab/lock         held while it is made or removed       HOME/lab/NODE/       a node's root and log
HOME/lab/pair.yaml    a document for its pair of nodes       HOME/secrets/lab-*   what that names
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reconciler.errors import LeaseHeldError, TerminalError
from reconciler.transports.groups import start_time_of

_LOCK_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that leads a session of its own. boot_id: of the machine that it runs on."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now."""
        return cls(pid, start_time_of(pid) or 0, this_boot())

    @property
    def is_alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.boot_id == this_boot() and start_time_of(self.pid) == self.start_time


@dataclass(frozen=True, slots=True)
class Node:
    """One of the two. address, port: of its sshd. rsync_port, service_port: of its rsync daemon and its small service.

    processes: those to be ended.
    """

    name: str
    address: str
    port: int
    rsync_port: int
    service_port: int
    user: str = "root"
    processes: tuple[Process, ...] = ()


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab. name: six characters, part of every name that it takes outside of its folder.

    isolated: a plain lab's nodes each see a file system of their own.
    """

    name: str
    variant: str
    nodes: tuple[Node, ...] = ()
    subnet: str = ""
    isolated: bool = False

    def node(self, name: str) -> Node:
        """The node of this name."""
        return next(node for node in self.nodes if node.name == name)

    def with_node(self, changed: Node) -> Lab:
        """The lab with one node in another state."""
        return replace(self, nodes=tuple(changed if node.name == changed.name else node for node in self.nodes))


def this_boot() -> str:
    """Identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read(folder: Path) -> Lab | None:
    """The lab of a folder, None where there is none. Raises TerminalError for a record that cannot be read."""
    try:
        kept = json.loads((folder / "lab.json").read_text())
        nodes = tuple(
            Node(**{**node, "processes": tuple(Process(**one) for one in node["processes"])}) for node in kept["nodes"]
        )
        return Lab(kept["name"], kept["variant"], nodes, kept["subnet"], kept["isolated"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TerminalError("BadLab", f"{folder / 'lab.json'} cannot be read: {error}") from error


def write(folder: Path, lab: Lab) -> None:
    """Keep it, whole or not at all."""
    kept = asdict(lab)
    partial = folder / f"lab.json.{os.getpid()}"
    partial.write_text(json.dumps(kept, indent=1) + "\n")
    partial.replace(folder / "lab.json")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else makes or removes the lab meanwhile. Raises LeaseHeldError after a minute."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_up = time.monotonic() + _LOCK_TIMEOUT
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= give_up:
                    raise LeaseHeldError("LabBusy", f"somebody else makes or removes the lab in {folder}") from error
                time.sleep(0.1)
        yield
