"""What the daemon tells the service manager, over a real socket as systemd has one."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.daemon.notify import Notifier
from tests.daemon.lab import Lab, document, until


class Manager:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.name = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.told: list[dict[str, str]] = []

    def listen(self) -> list[dict[str, str]]:
        """Everything that was told so far."""
        while True:
            try:
                message = self._socket.recv(4096).decode()
            except BlockingIOError:
                return self.told
            self.told.append(dict(line.split("=", 1) for line in message.split("\n")))

    def heard(self, key: str) -> int:
        """How often something was told."""
        return sum(key in message for message in self.listen())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    folder = tmp_path_factory.mktemp("n")
    made = Manager(str(folder / "notify") if request.param == "path" else f"@{folder.name}-{os.getpid()}")
    yield made
    made.close()


def test_a_daemon_tells_that_it_is_ready_alive_reloading_and_stopping(lab: Lab, manager: Manager) -> None:
    lab.write("a.yaml", document("Entry", "one", {"text": "x"}))
    daemon = lab.as_daemon(lab.start("daemon", lab.specs, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="1000000"))
    until(lambda: manager.heard("READY"), daemon.err)
    assert daemon.get("/readyz")[0] == 200, "ready is said when the specs are loaded, not before"
    assert str(lab.specs) in next(message for message in manager.told if "READY" in message)["STATUS"]
    until(lambda: manager.heard("WATCHDOG") >= 3)
    daemon.signal(signal.SIGHUP)
    until(lambda: manager.heard("READY") == 2)
    order = [key for message in manager.told for key in message if key in ("READY", "RELOADING")]
    assert order == ["READY", "RELOADING", "READY"]
    assert daemon.terminate() == 0
    assert [key for message in manager.listen() for key in message][-2:] == ["STOPPING", "STATUS"]
    assert {value for message in manager.told for key, value in message.items() if key.isupper() and value == "1"}


def test_what_nobody_listens_to_stops_nothing(lab: Lab, tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody"), "@nobody", "nonsense", "x" * 500):
        daemon = lab.as_daemon(lab.start("daemon", lab.specs, NOTIFY_SOCKET=address))
        daemon.await_ready()
        assert daemon.terminate() == 0
        assert daemon.err().count("could not be told") <= 1


def test_the_watchdog_is_fed_at_half_its_time_and_only_while_alive(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"})
    until_ = time.monotonic() + 1.0
    while time.monotonic() < until_:
        notifier.beat(alive=True)
        time.sleep(0.01)
    fed = manager.heard("WATCHDOG")
    assert 3 <= fed <= 6, "not at every beat"
    time.sleep(0.3)
    notifier.beat(alive=False)
    assert manager.heard("WATCHDOG") == fed, "who hangs is not covered up"


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_not_ours_is_not_fed(manager: Manager, variables: dict[str, str]) -> None:
    Notifier({"NOTIFY_SOCKET": manager.name, **variables}).beat(alive=True)
    assert manager.listen() == []


def test_a_line_break_in_a_status_makes_no_second_message(manager: Manager) -> None:
    Notifier({"NOTIFY_SOCKET": manager.name}).ready("a\nMAINPID=1")
    assert manager.listen() == [{"READY": "1", "STATUS": "a MAINPID=1"}]
