"""Git remotes and hosts as a step is given them: with what the home says of them, ended with the lease."""

from __future__ import annotations

import dataclasses
import getpass
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from git_lab import Repository
from git_servers import SSHD, ssh_server
from inside import Inside
from place import Place, living, wait_for
from probe import Probe, document
from sqlalchemy import update

from reconciler.errors import SpecError
from reconciler.kind import Context, Step
from reconciler.model.secret import Secret
from reconciler.store.tables import leases
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.http_access import HttpAccess
from reconciler.transports.ssh import SshPlace

Opened = Callable[..., Inside]


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def engine(place: Place, opened: Opened, probe: Probe) -> Inside:
    place.write("a.yaml", document())
    return opened(kinds=[probe], lease_ttl=0.6)


def test_a_push_is_journalled_and_ends_when_the_lease_is_lost(
    place: Place, engine: Inside, probe: Probe, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "served" / "origin.git")
    held, go = tmp_path / "held", tmp_path / "go"
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {held}\nwhile [ ! -e {go} ]; do sleep 0.02; done\nexit 1\n")
    hook.chmod(0o755)

    def write(context: Context) -> None:
        context.git(repository.url, RemoteAccess()).publish("main", {"a": b"1"}, "one", onto=None)

    def watch() -> None:
        wait_for(held.exists)
        pushing = [row["pgid"] for row in place.rows("SELECT pgid, argv FROM processes") if " push " in row["argv"]]
        found.extend(pushing)
        with engine.runtime.database.write() as connection:
            connection.execute(update(leases).values(epoch=99, owner="somebody"))

    found: list[int] = []
    probe.script = [Step("write", "Write", write)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = engine.apply()["one"]
        watcher.join()
        assert result.reason == "LeaseLost"
        assert found
        assert living(found) == []
    finally:
        go.touch()
    assert place.rows("SELECT text FROM step_logs") == []
    assert repository.head() == ""


@pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")
def test_the_settings_say_which_hosts_are_known(place: Place, engine: Inside, probe: Probe, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "served" / "origin.git")
    seen: list[object] = []

    def write(context: Context) -> None:
        access = RemoteAccess(ssh_key=Secret(ssh.key.read_text(), "a test"))
        seen.append(dict(context.git(ssh.url(repository.path), access).heads()))
        with pytest.raises(SpecError, match="without TLS"):
            context.http("http://example.com/api", HttpAccess(Secret("t", "a test")))
        probe.write(context)

    probe.script = [Step("write", "Write", write)]
    settings = engine.runtime.settings
    with ssh_server(tmp_path / "sshd") as ssh:
        nobody = tmp_path / "nobody"
        nobody.touch()
        for hosts, verdict in ((nobody, "failed"), (ssh.known_hosts, "changed")):
            git = dataclasses.replace(settings.git, known_hosts=hosts)
            engine.runtime.settings = dataclasses.replace(settings, git=git)
            result = engine.apply()["one"]
            assert result.verdict == verdict, result.message
            assert result.reason == ("UnknownHostKey" if verdict == "failed" else "Applied")
    assert seen == [{}]


@pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")
def test_a_host_that_the_home_knows_is_shared_by_all_and_waited_for_no_longer_than_the_lease(
    place: Place, engine: Inside, probe: Probe, tmp_path: Path
) -> None:
    seen: list[str] = []
    runs = threading.Event()

    def ask(context: Context) -> None:
        seen.append(context.ssh(host).run("echo $SSH_CONNECTION", timeout=30).stdout)

    def wait(context: Context) -> None:
        runs.set()
        context.ssh(host).run("sleep 600", timeout=700)

    def take_over() -> None:
        runs.wait(30)
        with engine.runtime.database.write() as connection:
            connection.execute(update(leases).values(epoch=99, owner="somebody"))

    probe.script = [Step("ask", "Ask", ask), Step("again", "Ask again", ask), Step("wait", "Wait", wait)]
    with ssh_server(tmp_path / "sshd") as ssh:
        identity = Secret(ssh.key.read_text(), "a test")
        host = SshPlace("127.0.0.1", ssh.port, getpass.getuser(), identity)
        assert engine.apply()["one"].reason == "UnknownHostKey"
        (engine.runtime.home / "known_hosts").write_text(ssh.known_hosts.read_text())
        taker = threading.Thread(target=take_over)
        taker.start()
        assert engine.apply()["one"].reason == "LeaseLost"
        taker.join()
    assert len(seen) == 2
    assert len(set(seen)) == 1
