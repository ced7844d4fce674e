"""The demo's last act: two nodes, one of which serves at every moment, are upgraded before one's eyes.

It is played in a home of its own beside the demo's, on the lab: machines where that is possible, else two folders.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

NEW_VERSION, NEW_TEXT = "2.0.0", "greeting = welcome"


class Client:
    """Asks both nodes in a loop which of them serves."""

    def __init__(self, services: Sequence[tuple[str, int]]) -> None:
        self.asked, self.unserved = 0, 0
        self._services = services
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(0.02):
            self.asked += 1
            passes = (any(self._serves(one) for one in self._services) for _ in range(3))  # they may just have switched
            self.unserved += not any(passes)

    @staticmethod
    def _serves(service: tuple[str, int]) -> bool:
        try:
            with socket.create_connection(service, 2) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            return bool(json.loads(answer.partition(b"\r\n\r\n")[2])["serves"])
        except (OSError, ValueError):
            return False


class Act:
    """The act, in a home of its own. command: the program's first words. environ: of its processes."""

    def __init__(self, home: Path, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._home = home
        self._command = [*command, "--home", str(home)]
        self._environ = environ

    def clear(self) -> None:
        """Take away what an act that was killed left behind."""
        if (self._home / "lab").is_dir():
            self._run("lab", "down")

    def play(self, say: Callable[[str], None]) -> None:
        """Play it, and take everything away again. Raises SystemExit when something is not as it should be."""
        try:
            self._run("lab", "up")
        except SystemExit as why:
            say(f"\nNo pair of nodes is upgraded here: {why}")
            return
        try:
            say("\nTwo nodes of a lab, kept alike by rsync; the master serves. Both are to run another version:")
            self._upgrade(say)
        finally:
            self._run("lab", "down")

    def _upgrade(self, say: Callable[[str], None]) -> None:
        document = self._home / "lab" / "pair.yaml"
        pair = yaml.safe_load(document.read_text())
        pair["spec"]["version"] = NEW_VERSION
        document.write_text(yaml.safe_dump(pair, sort_keys=False))
        (self._home / "secrets" / "lab-app.conf").write_text(NEW_TEXT)
        nodes = json.loads((self._home / "lab" / "lab.json").read_text())["nodes"]
        client = Client([(node["address"], node["service_port"]) for node in nodes])
        try:
            self._run("apply", str(document), "--yes", heard=lambda line: _tell(line, say))
        finally:
            client.close()
        say(f"  asked {client.asked} times meanwhile, nobody served {client.unserved} times")

    def _run(self, *words: str, heard: Callable[[str], None] = lambda _line: None) -> None:
        """Run a command to its end. heard: told each line that it prints, at once."""
        with tempfile.TemporaryFile("w+") as errors:
            argv = [*self._command, *words]
            child = subprocess.Popen(argv, env=self._environ, stdout=subprocess.PIPE, stderr=errors, text=True)
            with child:
                assert child.stdout is not None
                for line in child.stdout:
                    heard(line.rstrip())
            errors.seek(0)
            if child.returncode != 0:
                raise SystemExit(f"reconciler {' '.join(words)}: {errors.read().strip()}")


def _tell(line: str, say: Callable[[str], None]) -> None:
    """Steps that are done, and how it ended."""
    told = line.removeprefix("NodePair/lab: ")
    if told != line and not told.endswith("…"):
        say(f"  {told}")
