"""The small versioned service of a lab's node, and the tool that upgrades it. Copied to the nodes by `equipment`.

    service.py listen     the service: answers each request with its version, and whether this node serves
    service.py CALL       version prepare stop install start verify serving switchover switchback rollback

It stands alone, since a node has Python and nothing of ours. Beside it lie:

    settings.json         this node, its peer, how the service is started
    installed, staged     versions; the service goes on with the one that it was started with
    claim                 `TERM ROLE`: who serves, as far as this node knows; a higher term beats a lower one
    calls.jsonl           every call of the tool with its time and environment, and how it ended
    faults/CALL.json      what is to go wrong with a call: see `Fault`

Who serves needs no third party: the node that takes over asks its peer first whether that one serves, claims the next
term, and tells the peer. A node that missed that learns it from its peer, which each service asks twice a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CALLS = (
    *("version", "prepare", "stop", "install", "start", "verify"),
    *("serving", "switchover", "switchback", "rollback"),
)
STARTS_WITHIN = 15.0
_SECOND = 1.0


class CallError(Exception):
    """A call that fails; its text is for people."""


class Fault:
    """What is to go wrong with a call, written by whoever tries things out.

    do        fail: it ends with 1; hold: it waits until the fault is gone; say: it prints `text` instead
    skip      how many calls go well before; times: how many are then concerned (0: all)
    late      only once the call has done its work
    """

    def __init__(self, call: str) -> None:
        self._path = HERE / "faults" / f"{call}.json"
        self._told = self._read()
        count = self._count() if self._told else 0
        first = int(self._told.get("skip", 0))
        times = int(self._told.get("times", 0))
        self.applies = bool(self._told) and count > first and (times == 0 or count <= first + times)
        self.is_late = bool(self._told.get("late", False))

    def happen(self, call: str, number: str) -> str | None:
        """Fail, wait, or return what is to be said instead of the truth."""
        if self._told["do"] == "fail":
            raise CallError(f"{call} was told to fail")
        if self._told["do"] == "say":
            return str(self._told["text"])
        note({"id": number, "call": call, "held": True})
        while self._path.exists():
            time.sleep(0.02)
        return None

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}

    def _count(self) -> int:
        """This call's number since the fault was made, from 1."""
        with alone():
            path = self._path.with_suffix(".count")
            count = int(path.read_text()) + 1 if path.exists() else 1
            path.write_text(str(count))
            return count


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One process at a time."""
    with (HERE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def note(entry: Mapping[str, Any]) -> None:
    """One line of the log of calls."""
    line = json.dumps({"at": time.time(), **entry}) + "\n"
    descriptor = os.open(HERE / "calls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def settings() -> dict[str, Any]:
    """This node."""
    return dict(json.loads((HERE / "settings.json").read_text()))


def put(name: str, text: str) -> None:
    """Replace a file of ours, whole or not at all."""
    partial = HERE / f".{name}.{os.getpid()}.{threading.get_ident()}"
    partial.write_text(f"{text}\n")
    partial.replace(HERE / name)


def claim() -> tuple[int, str]:
    """The highest term that this node knows, and whose it is."""
    term, role = (HERE / "claim").read_text().split()
    return int(term), role


def adopt(term: int, role: str) -> bool:
    """Take a claim for true if it beats the one that is known; whether it did."""
    with alone():
        if term <= claim()[0]:
            return False
        put("claim", f"{term} {role}")
        return True


def ask(where: tuple[str, int], path: str = "/") -> dict[str, Any] | None:
    """What a service answers; None when none does within a second."""
    try:
        with socket.create_connection(where, _SECOND) as connection:
            connection.settimeout(_SECOND)
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
    except (OSError, ValueError):
        return None


class Service(socketserver.ThreadingTCPServer):
    """Listens. version: the one that was installed when it started."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.node = node
        self.version = (HERE / "installed").read_text().strip()
        super().__init__((node["address"], node["port"]), Answer)

    def state(self) -> dict[str, Any]:
        """What it answers. configuration: the digest of its file, "" where there is none."""
        term, holder = claim()
        try:
            configuration = hashlib.sha256(Path(self.node["configuration"]).read_bytes()).hexdigest()
        except OSError:
            configuration = ""
        role = self.node["role"]
        known = {"role": role, "serves": holder == role, "term": term, "holder": holder}
        return {"version": self.version, **known, "configuration": configuration}

    def learn(self) -> None:
        """Ask the peer twice a second who serves."""
        peer = self.node["peer"]
        while peer:
            told = ask((peer["address"], peer["port"]))
            if told is not None:
                adopt(int(told["term"]), str(told["holder"]))
            time.sleep(0.5)


class Answer(socketserver.StreamRequestHandler):
    """One request: `GET /`, or `GET /claim/TERM/ROLE` from the peer."""

    timeout = 5

    def handle(self) -> None:
        """Answer it."""
        assert isinstance(self.server, Service)
        try:
            path = self.rfile.readline(1000).decode("ascii", "replace").split()[1].split("/")
            if path[1] == "claim":
                adopt(int(path[2]), path[3])
            body = json.dumps(self.server.state()) + "\n"
            head = f"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write((head + body).encode())
        except (OSError, IndexError, ValueError):
            return


class Calls:
    """What the tool does: a method for each call. What they return is printed; they raise CallError."""

    def __init__(self, node: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._node = node
        self._environ = environ
        self._own = (node["address"], node["port"])
        self._unit = str(node["unit"])

    def version(self) -> str:
        """The version that runs, or that would."""
        told = ask(self._own)
        return str(told["version"]) if told is not None else (HERE / "installed").read_text().strip()

    def prepare(self) -> None:
        """Stage the version."""
        artifact = self._environ.get("ARTIFACT", "")
        if artifact and not Path(artifact).is_file():
            raise CallError(f"there is no artifact at {artifact}")
        put("staged", self._wanted())

    def stop(self) -> None:
        """End the service; nobody is answered any more when this returns."""
        if self._unit:
            self._systemctl("stop")
        elif (pid := self._pid()) is not None:
            os.kill(pid, signal.SIGTERM)
        self._await(lambda: ask(self._own) is None, "it does not stop")

    def install(self) -> None:
        """Put the version in place. The service has to be stopped."""
        if ask(self._own) is not None:
            raise CallError("the service runs: stop it first")
        put("installed", self._wanted())

    def start(self) -> None:
        """Start the service; it answers with the installed version when this returns."""
        installed = (HERE / "installed").read_text().strip()
        told = ask(self._own)
        if told is not None and told["version"] != installed:
            raise CallError("another version runs: stop it first")
        if told is None and self._unit:
            self._systemctl("start")
        elif told is None:
            self._spawn()
        self._await(lambda: ask(self._own) is not None, "it does not start")

    def verify(self) -> None:
        """Succeed when the service answers with the version, and reads its configuration."""
        told = ask(self._own)
        if told is None:
            raise CallError("the service does not answer")
        if told["version"] != self._wanted():
            raise CallError(f"it runs {told['version']}, not {self._wanted()}")
        if not told["configuration"]:
            raise CallError("it has no configuration")

    def serving(self) -> None:
        """Succeed on the node that serves."""
        if claim()[1] != self._node["role"]:
            raise CallError(f"{claim()[1]} serves")

    def switchover(self) -> None:
        """Serve in place of the node SERVING, if that one serves."""
        role, expected = self._node["role"], self._environ.get("SERVING", "")
        if expected == role:
            return self.serving()
        peer = (self._node["peer"]["address"], self._node["peer"]["port"])
        told = ask(peer)
        if told is None or not told["serves"]:
            raise CallError(f"{expected or 'nobody'} was to be serving, and " + ("is not" if told else "says nothing"))
        if told["role"] != expected:
            raise CallError(f"{told['role']} serves, not {expected or 'nobody'}")
        if ask(self._own) is None:
            raise CallError("the service does not run here: it cannot take over")
        term = max(claim()[0], int(told["term"])) + 1
        adopt(term, role)
        if ask(peer, f"/claim/{term}/{role}") is None:
            raise CallError("taken over, but the peer could not be told; it will learn it by itself")
        return None

    def switchback(self) -> None:
        """The same, on the other node."""
        self.switchover()

    def rollback(self) -> None:
        """Put the version back, and run it."""
        self.stop()
        self.install()
        self.start()

    def _wanted(self) -> str:
        wanted = self._environ.get("VERSION", "")
        if not wanted:
            raise CallError("VERSION is not set")
        return wanted

    def _systemctl(self, verb: str) -> None:
        subprocess.run(["systemctl", verb, self._unit], check=True, timeout=60)

    def _pid(self) -> int | None:
        """The service's, where there is no systemd."""
        try:
            pid = int((HERE / "pid").read_text())
            return pid if b"listen" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") else None
        except (OSError, ValueError):
            return None

    def _spawn(self) -> None:
        log = (HERE / "log").open("a")
        words = [sys.executable, str(HERE / "service.py"), "listen"]
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _await(self, what: Any, otherwise: str) -> None:
        give_up = time.monotonic() + STARTS_WITHIN
        while not what():
            if time.monotonic() >= give_up:
                raise CallError(otherwise)
            time.sleep(0.02)


def call(name: str) -> int:
    """Make a call, with the fault that there may be; its exit status."""
    number = f"{time.time_ns():x}-{os.getpid()}"
    environ = {key: os.environ.get(key, "") for key in ("VERSION", "ROLE", "PEER", "ARTIFACT", "SERVING")}
    note({"id": number, "call": name, "began": True, "under": detached_name(), **environ})
    status = 0
    try:
        fault = Fault(name)
        said = fault.happen(name, number) if fault.applies and not fault.is_late else None
        said = getattr(Calls(settings(), environ), name)() if said is None else said
        if fault.applies and fault.is_late:
            fault.happen(name, number)
        if said:
            sys.stdout.write(f"{said}\n")
    except (CallError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        status = 1
    note({"id": number, "call": name, "ended": status})
    return status


def detached_name() -> str:
    """The name of the detached command that this process belongs to, "" for none: what may run only once has one."""
    pid = os.getpid()
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return ""
        for word in words:
            if word.endswith("/script"):
                return Path(word).parent.name
    return ""


def listen() -> None:
    """Be the service, until somebody ends it."""
    with Service(settings()) as service:
        put("pid", str(os.getpid()))
        threading.Thread(target=service.learn, daemon=True).start()
        service.serve_forever(poll_interval=60)


if __name__ == "__main__":
    if sys.argv[1:] == ["listen"]:
        listen()
    elif len(sys.argv) == 2 and sys.argv[1] in CALLS:
        sys.exit(call(sys.argv[1]))
    else:
        sys.stderr.write(f"ctl {'|'.join(CALLS)}\n")
        sys.exit(64)
