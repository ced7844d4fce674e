"""What the recorded-contract tools share: their state, the log of what they were asked, and how they misbehave.

Every run of a tool is a process of its own, so it starts with nothing but the standard library, and little of that.
Beside `state.json` and `log.jsonl` the state directory has the folder `behave`; a file in it makes a command misbehave:

    down                       the engine does not answer, whoever asks
    fail.COMMAND               it fails with the file's text; `N:text` only the first N times
    hang.COMMAND               it hangs
    slow.COMMAND               it takes as many seconds as the file says
    half.COMMAND               (create) it leaves containers that never ran; `fail` then fails, `hang` then hangs
    lie.COMMAND                it says that all went well, and did nothing
    no-address                 nodes get no address; with a number only for so many seconds after they were made
    moves                      nodes have another address after each start
    second-network             nodes are in a second network too
    deaf                       kubeconfigs lead to a port where nobody listens

COMMAND is the words of a command joined by `-`, such as `k3d-cluster-create` or `docker-pull`.
"""

# Every run is a process, and pathlib, json, socket or typing would take longer to import than all the rest:
# ruff: noqa: PTH105, PTH118, PTH123

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import time

from fake_tools import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


class Engine:
    """The state that docker, kind and k3d work on together. folder: the state directory."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, *parts: str) -> str:
        """A path in the state directory."""
        return os.path.join(self.folder, *parts)

    def behaviour(self, name: str) -> str | None:
        """The text of a file in `behave`, None without one."""
        try:
            with open(self.path("behave", name)) as stream:
                return stream.read().strip()
        except FileNotFoundError:
            return None

    def note(self, argv: list[str], **more: Any) -> None:
        """Add a line to the log: what was asked, when, by whom."""
        line = {"argv": argv, "at": time.time(), "pid": os.getpid(), **more}
        with open(self.path("log.jsonl"), "a") as stream:
            stream.write(plain_json.dumps(line) + "\n")

    def misbehave(self, command: str) -> None:
        """Do what the files in `behave` say before the command does anything itself."""
        if self.behaviour("down") is not None:
            fail(DOWN)
        slow = self.behaviour(f"slow.{command}")
        if slow:
            time.sleep(float(slow))
        if self.behaviour(f"hang.{command}") is not None:
            time.sleep(3600)
        text = self.behaviour(f"fail.{command}")
        if text is None:
            return
        count, colon, rest = text.partition(":")
        if not (colon and count.isdigit()):
            fail(text)
        if int(count) > 0:
            with open(self.path("behave", f"fail.{command}"), "w") as stream:
                stream.write(f"{int(count) - 1}:{rest}")
            fail(rest)

    def changing(self) -> Changing:
        """The state, written back at the end; one process at a time."""
        return Changing(self)

    def read(self) -> dict[str, Any]:
        """The state as it is."""
        try:
            with open(self.path("state.json")) as stream:
                found: dict[str, Any] = plain_json.loads(stream.read())
                return found
        except FileNotFoundError:
            return {"networks": {}, "clusters": {}, "images": []}

    def ask_api(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask the process that serves the clusters' APIs, over its socket."""
        with open(self.path("api.socket")) as stream:
            where = stream.read()
        sent = plain_json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
        connection = _socket.socket(_socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(where)
        connection.sendall(head.encode() + sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.close()
        found: dict[str, Any] = plain_json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
        return found

    def api_name(self, cluster: str) -> str:
        """What a cluster is called where its API is served: the process has those of other engines too."""
        with open(self.path("api.prefix")) as stream:
            return f"{stream.read()}{cluster}"[:63]


class Changing:
    """The state of an engine while its lock is held; written back unless something goes wrong."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __enter__(self) -> dict[str, Any]:
        self._lock = open(self.engine.path("state.lock"), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._state = self.engine.read()
        return self._state

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            fresh = self.engine.path(f"state.{os.getpid()}")
            with open(fresh, "w") as stream:
                stream.write(plain_json.dumps(self._state))
            os.replace(fresh, self.engine.path("state.json"))
        self._lock.close()


def options(arguments: list[str], known: dict[str, bool]) -> tuple[dict[str, list[str]], list[str]]:
    """Flags and the rest of a command. known: every flag that the tool documents, and whether it takes a value."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word == "-":
            rest.append(word)
        elif word not in known:
            fail(f"unknown flag: {word}", 125)
        else:
            found.setdefault(word, []).append(next(words, "") if known[word] else "true")
    return found, rest


def render(template: str, value: dict[str, Any]) -> str:
    """A Go template with nothing but `{{.A.B}}`, `{{json .A.B}}` and `{{.Label "name"}}` in it."""
    parts = template.split("{{")
    out = [parts[0]]
    for part in parts[1:]:
        expression, _, text = part.partition("}}")
        words = expression.split()
        found: Any = value
        if words[0] == ".Label":
            found = value["Labels"].get(words[1].strip('"'), "")
        else:
            for name in filter(None, words[-1].split(".")):
                found = found[name]
        out.append(plain_json.dumps(found) if words[0] == "json" else str(found))
        out.append(text)
    return "".join(out)


def fail(text: str, code: int = 1) -> NoReturn:
    """End as a tool does that could not do what it was asked."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(code)
