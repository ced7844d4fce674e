"""Commands on a host, by a real sshd: deadlines that hold, host keys that count, output that is bounded."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_servers import SSHD, ssh_server
from git_servers import Ssh as Sshd
from ssh_ground import place_on, sessions_of, signal_all

from reconciler.errors import DeadlineError, TerminalError, TransientError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.ssh import Ssh, SshPlace
from reconciler.transports.ssh_trust import KnownHost, check_host_key, read_known_hosts

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "sshd") as server:
        yield server


@pytest.fixture
def place(sshd: Sshd) -> SshPlace:
    return place_on(sshd)


@pytest.fixture
def host(place: SshPlace) -> Iterator[Ssh]:
    with Ssh(place) as found:
        yield found


def test_a_command_says_what_it_said_and_how_it_ended(host: Ssh) -> None:
    done = host.run("echo out; echo err >&2; exit 3", timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_list_of_words_reaches_the_host_as_it_is(host: Ssh) -> None:
    words = ["printf", "%s|", "a b", "$(id)", "'; rm -rf /tmp/x; '", "*", "", "-n", "é\n"]
    assert host.run(words, timeout=20).stdout == "|".join(words[2:]) + "|"


def test_input_is_given_and_ends(host: Ssh) -> None:
    assert host.run("cat; echo end", timeout=20, stdin="hello ").stdout == "hello end\n"
    assert host.run("cat; echo end", timeout=20).stdout == "end\n"


def test_input_is_given_as_fast_as_it_is_taken_while_output_is_read(host: Ssh) -> None:
    chunks = (bytes([number]) * 1_000_000 for number in range(8))
    done = host.run("tee /dev/stderr | sha256sum", timeout=60, stdin=chunks)
    wanted = hashlib.sha256(b"".join(bytes([number]) * 1_000_000 for number in range(8))).hexdigest()
    assert done.stdout.split()[0] == wanted


def test_a_command_that_does_not_want_all_of_its_input_ends_as_it_likes(host: Ssh) -> None:
    done = host.run("head -c 10; exit 5", timeout=60, stdin=(b"x" * 100_000 for _ in range(1000)))
    assert (done.returncode, done.stdout) == (5, "x" * 10)


def test_a_host_that_stops_answering_is_not_waited_for_beyond_the_deadline(host: Ssh) -> None:
    sessions = sessions_of(host)
    signal_all(sessions, signal.SIGSTOP)
    try:
        for stdin in (None, [b"x" * 10_000_000]):
            started = time.monotonic()
            with pytest.raises(DeadlineError):
                host.run("cat >/dev/null", timeout=1, stdin=stdin)
            assert time.monotonic() - started < 10
    finally:
        signal_all(sessions, signal.SIGCONT)
    assert host.run("echo back", timeout=30).stdout == "back\n"


def test_a_signal_shows_in_the_exit_status(host: Ssh) -> None:
    assert host.run("sh -c 'kill -9 $$'", timeout=20).returncode == 128 + 9


def test_output_without_end_is_kept_at_both_ends(host: Ssh) -> None:
    heard: list[str] = []
    done = host.run("echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo last", timeout=60, on_output=heard.append)
    assert done.stdout.startswith("first\n")
    assert done.stdout.endswith("last\n")
    assert len(done.stdout) < 1_001_000
    assert "bytes left out" in done.stdout
    assert "not logged" in heard[-1]
    assert sum(map(len, heard)) < 1_001_000


def test_past_its_deadline_a_command_is_left_and_the_host_ends_it(host: Ssh, tmp_path: Path) -> None:
    written = tmp_path / "pid"
    assert host.run("echo connected", timeout=30).stdout == "connected\n"
    started = time.monotonic()
    with pytest.raises(DeadlineError, match=r"did not end within 2 s; it said last:\nbusy"):
        host.run(f"echo busy; echo $$ > {written}; sleep 600", timeout=2)
    assert time.monotonic() - started < 10
    assert host.run("echo still here", timeout=20).stdout == "still here\n"
    pid = int(written.read_text())
    give_up = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < give_up, "the host has not ended it"
        time.sleep(0.1)


def test_a_private_command_is_not_quoted(host: Ssh) -> None:
    heard: list[str] = []
    with pytest.raises(DeadlineError) as caught:
        host.run("echo hunter2; sleep 9", timeout=0.5, on_output=heard.append, private=True)
    assert "hunter2" not in caught.value.message.replace("echo hunter2", "")
    assert heard == []


def test_who_is_told_to_stop_stops_waiting(place: SshPlace) -> None:
    stop = TransientError("ShuttingDown", "stopped")
    started = time.monotonic()
    cancelled = lambda: stop if time.monotonic() - started > 0.3 else None  # noqa: E731 - one line says it
    with Ssh(place, cancelled) as host, pytest.raises(TransientError) as caught:
        host.run("sleep 600", timeout=60)
    assert caught.value is stop


def test_many_commands_share_one_connection_and_run_side_by_side(host: Ssh) -> None:
    found: list[str] = []
    run = lambda number: found.append(host.run(f"sleep 0.3; echo {number} $SSH_CONNECTION", timeout=30).stdout)  # noqa: E731 - one line says it
    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 6 * 0.3 + 3
    assert len({line.split(" ", 1)[1] for line in found}) == 1
    assert len({line.split()[0] for line in found}) == 6


def test_a_lost_connection_is_said_and_the_next_command_makes_another(host: Ssh) -> None:
    killer = threading.Timer(0.5, signal_all, (sessions_of(host), signal.SIGKILL))
    killer.start()
    with pytest.raises(UnreachableError) as caught:
        host.run("sleep 30", timeout=25)
    killer.join()
    assert caught.value.reason == "ConnectionLost"
    assert host.run("echo back", timeout=20).stdout == "back\n"


def test_nobody_there_and_somebody_who_says_nothing_are_unreachable(place: SshPlace) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        gone = dataclasses.replace(place, port=silent.getsockname()[1], connect_timeout=0.5)
        with Ssh(gone) as host, pytest.raises(UnreachableError):
            host.run("true", timeout=5)
        silent.listen()
        started = time.monotonic()
        with Ssh(gone) as host, pytest.raises(UnreachableError):
            host.run("true", timeout=5)
        assert time.monotonic() - started < 5


def test_a_host_that_nobody_vouches_for_is_not_spoken_to(place: SshPlace) -> None:
    with Ssh(dataclasses.replace(place, known=())) as host, pytest.raises(TerminalError) as caught:
        host.run("true", timeout=5)
    assert caught.value.reason == "UnknownHostKey"
    assert "SHA256:" in caught.value.message


def test_a_changed_host_key_names_the_line_that_says_otherwise(place: SshPlace, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (tmp_path / "known_hosts").write_text(f"# ours\n[127.0.0.1]:{place.port} {key}\n")
    other = dataclasses.replace(place, known=read_known_hosts(tmp_path / "known_hosts"))
    with Ssh(other) as host, pytest.raises(TerminalError) as caught:
        host.run("true", timeout=5)
    assert caught.value.reason == "HostKeyChanged"
    assert f"{tmp_path}/known_hosts:2" in caught.value.message


def test_a_revoked_key_is_refused_though_another_line_vouches_for_it(place: SshPlace) -> None:
    revoked = (*place.known, KnownHost("@revoked " + place.known[0].text, "hosts:9"))
    with Ssh(dataclasses.replace(place, known=revoked)) as host, pytest.raises(TerminalError) as caught:
        host.run("true", timeout=5)
    assert (caught.value.reason, "hosts:9" in caught.value.message) == ("HostKeyRevoked", True)


@pytest.mark.parametrize("form", ["hashed", "pattern", "several", "negated"])
def test_known_hosts_are_read_as_openssh_reads_them(place: SshPlace, tmp_path: Path, form: str) -> None:
    class Offered:
        fingerprint = "SHA256:x"

        def get_name(self) -> str:
            return place.known[0].text.split()[1]

        def get_base64(self) -> str:
            return place.known[0].text.split()[2]

    name, kind, key = "db1.example.org", *place.known[0].text.split()[1:3]
    names = {"hashed": name, "pattern": "*.example.org", "several": f"other,{name}", "negated": f"*.org,!{name}"}
    path = tmp_path / "known_hosts"
    path.write_text(f"{names[form]} {kind} {key}\n")
    if form == "hashed":
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
        assert name not in path.read_text()
    offered: object = Offered()
    if form == "negated":
        with pytest.raises(TerminalError):
            check_host_key(read_known_hosts(path), name, 22, offered)  # type: ignore[arg-type]  # as much of a key as is asked
    else:
        check_host_key(read_known_hosts(path), name, 22, offered)  # type: ignore[arg-type]  # likewise
    with pytest.raises(TerminalError):
        check_host_key(read_known_hosts(path), "db2.example.com", 22, offered)  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize("text", ["no key at all", ""])
def test_a_key_that_is_none_is_said_without_what_it_holds(place: SshPlace, text: str) -> None:
    with (
        Ssh(dataclasses.replace(place, identity=Secret(text, "env:KEY"))) as host,
        pytest.raises(TerminalError) as caught,
    ):
        host.run("true", timeout=5)
    assert caught.value.reason == "Unauthorized"
    assert "env:KEY" in caught.value.message
    assert not text or text not in caught.value.message


def test_a_key_that_the_host_does_not_take_is_said(place: SshPlace, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    stranger = Secret((tmp_path / "other").read_text(), "file:other")
    with (
        Ssh(dataclasses.replace(place, identity=stranger)) as host,
        pytest.raises(TerminalError, match="none of the keys"),
    ):
        host.run("true", timeout=5)


def test_a_host_behind_another_is_reached_through_it(place: SshPlace) -> None:
    behind = dataclasses.replace(place, jump=place)
    with Ssh(behind) as host:
        assert host.run("echo through", timeout=20).stdout == "through\n"
