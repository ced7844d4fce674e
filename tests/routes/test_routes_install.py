"""Installing a file in a real HAProxy: whole or not at all, loaded or put back, one at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ReconcilerError, SpecError, TransientError, UnreachableError
from reconciler.kinds.cluster.haproxy.gateway import gateway_of
from reconciler.kinds.cluster.haproxy.installing import install
from reconciler.kinds.cluster.haproxy.locking import locked
from reconciler.kinds.cluster.haproxy.master import Master
from reconciler.kinds.cluster.haproxy.reloading import reload
from reconciler.kinds.cluster.haproxy.replacing import Replaced
from reconciler.kinds.cluster.haproxy.routes import Configuration, Route
from tests.daemon.lab import ROOT
from tests.routes.haproxy_lab import BASE_DOMAIN, BareContext, HaproxyLab, needs_haproxy

Change = Callable[[Configuration], Configuration]
EDITOR = """
import sys
from tests.routes.haproxy_lab import BASE_DOMAIN, BareContext
from reconciler.kinds.cluster.haproxy.gateway import gateway_of
from reconciler.kinds.cluster.haproxy.installing import install
from reconciler.kinds.cluster.haproxy.routes import Route
import json
gateway = gateway_of({"haproxy": json.loads(sys.argv[1])})
for name in sys.argv[2:]:
    route = Route(name, f"{name}.{BASE_DOMAIN}", "127.0.0.1:9")
    install(gateway, BareContext(), lambda before: before.with_route(route), lambda _: False, lambda: None)
    install(gateway, BareContext(), lambda before: before.without([name]), lambda _: False, lambda: None)
    install(gateway, BareContext(), lambda before: before.with_route(route), lambda _: False, lambda: None)
"""


def adding(name: str, port: int = 9) -> Change:
    return lambda before: before.with_route(Route(name, f"{name}.{BASE_DOMAIN}", f"127.0.0.1:{port}"))


def put(haproxy: HaproxyLab, change: Change, *, is_loaded: bool = True, **more: Any) -> list[str]:
    """Install a change; what was noted before the file was touched."""
    noted: list[str] = []
    context: Any = BareContext()
    install(haproxy.gateway(**more), context, change, lambda _: is_loaded, lambda: noted.append(haproxy.text))
    return noted


def left_beside(haproxy: HaproxyLab) -> set[str]:
    return {path.name.removeprefix("haproxy.cfg.") for path in haproxy.folder.glob("haproxy.cfg.*")}


@needs_haproxy
def test_what_is_installed_is_loaded_by_a_new_worker(haproxy: HaproxyLab, behind: dict[str, int]) -> None:
    haproxy.file.chmod(0o640)
    before, worker, inode = haproxy.text, haproxy.worker(), haproxy.file.stat().st_ino
    assert put(haproxy, adding("dev", behind["dev"])) == [before], "noted before the file is touched"
    assert haproxy.get(f"x.dev.{BASE_DOMAIN}") == (200, "Hostname: dev\n")
    assert haproxy.worker() != worker
    assert (haproxy.folder / "haproxy.cfg.previous").read_text() == before
    assert haproxy.file.stat().st_ino != inode
    assert haproxy.file.stat().st_mode & 0o777 == 0o640
    assert left_beside(haproxy) == {"previous", "lock"}
    worker = haproxy.worker()
    assert put(haproxy, adding("dev", behind["dev"])) == []
    assert haproxy.worker() == worker, "nothing to do"
    assert put(haproxy, adding("dev", behind["dev"]), is_loaded=False) == []
    assert haproxy.worker() != worker, "loaded again where nobody knows that it was"


@needs_haproxy
def test_a_file_that_haproxy_does_not_take_is_not_installed(haproxy: HaproxyLab) -> None:
    haproxy.file.write_text(haproxy.text + "\nbackend x\n  bogus\n")
    before, worker = haproxy.text, haproxy.worker()
    with pytest.raises(TransientError, match=rf"{haproxy.file}:\d+\] : unknown keyword 'bogus'") as caught:
        put(haproxy, adding("dev"))
    assert caught.value.reason == "InvalidFile"
    assert (haproxy.text, haproxy.worker()) == (before, worker)
    assert left_beside(haproxy) == {"lock"}


@needs_haproxy
@pytest.mark.parametrize("in_place", [False, True])
def test_what_cannot_be_loaded_is_put_back(haproxy: HaproxyLab, in_place: bool) -> None:
    """It is valid, and somebody else listens on its port: only loading it shows that."""
    before, inode = haproxy.text, haproxy.file.stat().st_ino

    def change(there: Configuration) -> Configuration:
        added = there.content.replace(b"frontend fe_https\n", b"frontend fe_https\n  bind 127.0.0.1:%d\n" % taken)
        return adding("dev")(Configuration.parse(added, there.path))

    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        with pytest.raises(TransientError, match=r"The previous file was put back\.") as caught:
            put(haproxy, change, inPlace=in_place)
    assert caught.value.reason == "ReloadFailed"
    assert haproxy.text == before
    assert haproxy.get(f"portainer.devops.{BASE_DOMAIN}") == (200, "Hostname: portainer\n")
    assert Master(haproxy.socket).processes(10).failed == 0, "and loaded again"
    assert haproxy.file.stat().st_ino == inode or not in_place


@needs_haproxy
def test_a_haproxy_that_does_not_run_gets_no_file(haproxy: HaproxyLab) -> None:
    before = haproxy.text
    haproxy.stop()
    with pytest.raises(UnreachableError, match=r"master\.sock does not answer"):
        put(haproxy, adding("dev"))
    assert haproxy.text == before


@needs_haproxy
def test_a_command_may_reload_and_the_worker_is_looked_for(haproxy: HaproxyLab) -> None:
    worker = haproxy.worker()
    signal = ["sh", "-c", f"kill -USR2 $(cat {haproxy.folder}/pid)"]
    (haproxy.folder / "pid").write_text(str(haproxy.pid))
    put(haproxy, adding("dev"), reload={"command": signal, "masterSocket": str(haproxy.socket)})
    assert haproxy.worker() != worker
    with pytest.raises(TransientError, match="exit code 7"):
        put(haproxy, adding("uat"), reload={"command": ["sh", "-c", "exit 7"]})
    assert "be_uat" not in haproxy.text
    idle = {"command": ["true"], "masterSocket": str(haproxy.socket)}
    with pytest.raises(ReconcilerError, match="no new worker"):
        put(haproxy, adding("uat"), reload=idle, timeout="1s")
    assert "be_uat" not in haproxy.text


@needs_haproxy
def test_another_command_may_check(haproxy: HaproxyLab) -> None:
    with pytest.raises(TransientError, match="not today"):
        put(haproxy, adding("dev"), check=["sh", "-c", "grep -q be_dev ${file} && echo not today; exit 1"])
    put(haproxy, adding("dev"), check=["sh", "-c", "grep -q be_dev"])
    assert "be_dev" in haproxy.text


@needs_haproxy
def test_two_processes_edit_at_once_and_lose_nothing(haproxy: HaproxyLab) -> None:
    argv = [sys.executable, "-c", EDITOR, json.dumps(haproxy.settings)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    names = [["a1", "a2"], ["b1", "b2"]]
    editors = [subprocess.Popen([*argv, *own], env=environment, cwd=ROOT) for own in names]
    assert [editor.wait(120) for editor in editors] == [0, 0]
    found = Configuration.parse(haproxy.file.read_bytes(), "x").names()
    assert found == sorted([*names[0], *names[1]])
    put(haproxy, lambda before: before, is_loaded=False)


def test_who_waits_in_vain_is_told_for_whom(tmp_path: Path) -> None:
    file, context = tmp_path / "haproxy.cfg", BareContext()
    asked: Any = context
    told = rf"being changed by process {os.getpid()} since .* UTC; waited"
    with locked(file, asked, 1.0), pytest.raises(TransientError, match=told), locked(file, asked, 0.2):
        pytest.fail("two at once")
    with locked(file, asked, 0.2):
        pass


def test_a_link_is_followed_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.cfg").write_text("x")
    (tmp_path / "haproxy.cfg").symlink_to("real.cfg")
    assert gateway_of({"haproxy": {"file": str(tmp_path / "haproxy.cfg")}}).file == tmp_path / "real.cfg"


def test_a_document_names_an_haproxy_of_the_settings(tmp_path: Path) -> None:
    known = {"haproxy": {"file": "/a", "baseDomain": "a.example"}, "haproxies": {"edge": {"file": "/b"}}}
    edge = gateway_of(known, "edge")
    assert (edge.name, str(edge.file), edge.base_domain) == ("edge", "/b", "a.example")
    with pytest.raises(SpecError, match="'other' in haproxies; they have edge"):
        gateway_of(known, "other")
    with pytest.raises(SpecError, match="under which host dev is reached"):
        gateway_of({}).host_of("dev", "")
    assert edge.host_of("dev", "") == "dev.a.example"
    for bad in (
        "x\n  server evil 1.2.3.4:80",
        "dev.example\n",
        "a|b",
        ".*",
        "A.example",
        "a..b",
        "-a",
        "a" * 64,
        "a." * 130 + "a",
    ):
        with pytest.raises(SpecError, match="is no host name"):
            edge.host_of("dev", bad)


# -- a file that is written over


@settings(max_examples=200)
@given(old=st.binary(max_size=40), new=st.binary(max_size=40), data=st.data())
def test_a_writing_that_was_interrupted_is_finished(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, data: st.DataObject
) -> None:
    """Whatever was written of it; readers see the whole of it before that."""
    file = tmp_path_factory.getbasetemp() / "torn.cfg"
    written = data.draw(st.integers(0, len(new)))
    file.write_bytes(new[:written] + old[written:])
    file.with_name("torn.cfg.writing").write_bytes(new)
    file.with_name("torn.cfg.overwritten").write_bytes(old)
    nothing_yet = file.read_bytes() == old
    replaced = Replaced(file, in_place=True)
    assert replaced.read() == (old if nothing_yet else new)
    replaced.recover()
    assert file.read_bytes() == (old if nothing_yet else new)
    assert not list(file.parent.glob("torn.cfg.*"))


def test_what_somebody_wrote_after_a_crash_counts(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"by hand")
    file.with_name("f.writing").write_bytes(b"the new one")
    file.with_name("f.overwritten").write_bytes(b"the old one")
    replaced = Replaced(file, in_place=True)
    assert replaced.read() == b"by hand"
    replaced.recover()
    assert file.read_bytes() == b"by hand"


def test_a_file_that_is_written_over_stays_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    for old, new in ((b"short", b"a longer one"), (b"a longer one", b"short"), (b"", b"x")):
        file.write_bytes(old)
        inode = file.stat().st_ino
        replaced = Replaced(file, in_place=True)
        replaced.propose(new)
        replaced.keep()
        replaced.install()
        assert (file.read_bytes(), file.stat().st_ino) == (new, inode)
        assert replaced.previous.read_bytes() == old
        assert {path.name for path in tmp_path.iterdir()} == {"f", "f.previous"}


# -- what masters of other releases say


class _Talk(StreamRequestHandler):
    def handle(self) -> None:
        command = self.rfile.readline().decode().strip()
        answers: dict[str, str] = self.server.answers  # type: ignore[attr-defined]  # made below
        self.wfile.write(answers.get(command, "").encode())


@contextmanager
def master_that_says(path: Path, answers: dict[str, str]) -> Iterator[Master]:
    with ThreadingUnixStreamServer(str(path), _Talk) as server:
        server.daemon_threads = True
        server.answers = answers  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Master(path)
        finally:
            server.shutdown()
            thread.join()


PROCESSES = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1162            master          5               0d00h02m07s     3.0.8
# workers
1271            worker          1               0d00h00m00s     3.0.8
# old workers
1233            worker          3               0d00h00m43s     3.0.8
# programs
1244            foo             0               0d00h00m00s     -
"""


def test_later_masters_say_whether_they_loaded(tmp_path: Path) -> None:
    failed = "Success=0\n--\n[ALERT] (1) : cannot bind socket\n"
    with master_that_says(tmp_path / "m", {"show proc": PROCESSES, "reload": failed}) as master:
        found = master.processes(5)
        assert (found.reloads, found.failed, found.workers) == (5, 0, {1271})
        with pytest.raises(TransientError, match="cannot bind socket"):
            master.reload(5)
    with (
        master_that_says(tmp_path / "n", {"show proc": "Unknown command\n"}) as master,
        pytest.raises(UnreachableError, match="does not answer as a master"),
    ):
        master.processes(5)


def test_a_master_that_says_yes_and_starts_nothing_is_not_believed(tmp_path: Path) -> None:
    gateway = gateway_of({"haproxy": {"reload": {"masterSocket": str(tmp_path / "m")}, "timeout": "500ms"}})
    context: Any = BareContext()
    with (
        master_that_says(tmp_path / "m", {"show proc": PROCESSES, "reload": "Success=1\n"}),
        pytest.raises(ReconcilerError, match="no new worker"),
    ):
        reload(gateway, context)
