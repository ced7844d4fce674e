"""`reconciler host`: what a host proves itself with is shown, compared, written once, and never quietly changed."""

from __future__ import annotations

import getpass
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_servers import SSHD, Ssh, ssh_server
from place import Place

from reconciler.transports.ssh_home import trust
from reconciler.transports.ssh_trust import HostKey

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with ssh_server(tmp_path_factory.mktemp("host") / "sshd") as server:
        yield server


@pytest.fixture
def address(sshd: Ssh) -> str:
    return f"127.0.0.1:{sshd.port}"


@pytest.fixture
def kept(place: Place) -> Path:
    return place.home / "known_hosts"


def other_key(folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "other"], check=True)
    return " ".join((folder / "other.pub").read_text().split()[:2])


def fingerprint_of(sshd: Ssh) -> str:
    """As ssh-keygen shows it."""
    shown = subprocess.run(["ssh-keygen", "-lf", sshd.known_hosts], capture_output=True, text=True, check=True)
    return shown.stdout.split()[1]


def test_a_host_is_trusted_once_its_key_was_compared(place: Place, sshd: Ssh, address: str, kept: Path) -> None:
    asked = place.run("host", "trust", address, code=64)
    assert "nobody can be asked" in asked.err
    assert fingerprint_of(sshd) in asked.out
    wrong = place.run("host", "trust", address, "--fingerprint", "SHA256:somethingelse", code=1)
    assert "WrongHostKey" in wrong.err
    assert not kept.exists()
    place.run("host", "trust", address, "--fingerprint", fingerprint_of(sshd))
    assert kept.read_text() == sshd.known_hosts.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    again = place.run("host", "trust", address, "--yes")
    assert f"trusted already, by {kept}:1" in again.out
    assert kept.read_text() == sshd.known_hosts.read_text()
    options = ["-F/dev/null", f"-oUserKnownHostsFile={kept}", "-oGlobalKnownHostsFile=/dev/null", "-oBatchMode=yes"]
    login = ["ssh", *options, "-i", sshd.key, "-p", str(sshd.port), f"{getpass.getuser()}@127.0.0.1", "true"]
    subprocess.run(login, check=True)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_changed_key_is_refused_until_it_is_to_be_replaced(
    place: Place, sshd: Ssh, address: str, kept: Path, tmp_path: Path, kind: str
) -> None:
    """One of another kind as well: it would be an easy way round."""
    theirs = other_key(tmp_path).replace("ssh-ed25519", kind)
    others = f"# by hand\n192.0.2.7 {theirs}\n"
    kept.write_text(f"{others}[127.0.0.1]:{sshd.port} {theirs}")
    refused = place.run("host", "trust", address, "--yes", code=7)
    assert f"{kept}:3" in refused.err
    assert "--replace" in refused.err
    place.run("host", "trust", address, "--yes", "--replace")
    assert kept.read_text() == others + sshd.known_hosts.read_text()


def test_a_line_that_speaks_of_others_is_left_to_people(
    place: Place, sshd: Ssh, address: str, kept: Path, tmp_path: Path
) -> None:
    for names in (f"*,[127.0.0.1]:{sshd.port}", f"[127.0.0.1]:{sshd.port},db1"):
        kept.write_text(f"{names} {other_key(tmp_path)}\n")
        before = kept.read_text()
        for command in (["trust", "--yes", "--replace"], ["forget"]):
            refused = place.run("host", command[0], address, *command[1:], code=7)
            assert f"{kept}:1" in refused.err
        assert kept.read_text() == before
        for name in ("other", "other.pub"):
            (tmp_path / name).unlink()


def test_a_revoked_key_is_never_trusted(place: Place, sshd: Ssh, address: str, kept: Path) -> None:
    line = sshd.known_hosts.read_text()
    kept.write_text(f"@revoked {line}")
    for more in ([], ["--replace"]):
        refused = place.run("host", "trust", address, "--yes", *more, code=1)
        assert f"revoked by {kept}:1" in refused.err
    assert kept.read_text() == f"@revoked {line}"
    assert "NoSuchHost" in place.run("host", "forget", address, code=64).err
    assert "revoked: ssh-ed25519" in place.run("host", "list").out


def test_what_is_trusted_is_listed_and_forgotten(place: Place, sshd: Ssh, address: str, kept: Path) -> None:
    assert place.run("host", "list").out == ""
    place.run("host", "trust", address, "--yes")
    name = f"[127.0.0.1]:{sshd.port}"
    assert place.run("host", "list").out == f"{name}  ssh-ed25519 {fingerprint_of(sshd)}  {kept}:1\n"
    offered = place.run(
        env={"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler host forget [", "COMP_CWORD": "3"}
    )
    assert name in offered.out
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", kept], check=True, capture_output=True)
    assert place.run("host", "list").out.startswith("(hashed)  ssh-ed25519")
    place.run("host", "forget", address)
    assert kept.read_text() == ""


def test_a_host_behind_another_is_asked_through_it(place: Place, sshd: Ssh, address: str, kept: Path) -> None:
    through = ("--jump", f"{getpass.getuser()}@{address}", "--identity", sshd.key)
    unknown = place.run("host", "trust", "localhost:" + str(sshd.port), *through, "--yes", code=1)
    assert "UnknownHostKey" in unknown.err
    place.run("host", "trust", address, "--yes")
    place.run("host", "trust", "localhost:" + str(sshd.port), *through, "--yes")
    assert [line.split()[0] for line in kept.read_text().splitlines()] == [
        f"[127.0.0.1]:{sshd.port}",
        f"[localhost]:{sshd.port}",
    ]


def test_several_at_once_are_all_written(place: Place, sshd: Ssh, kept: Path) -> None:
    key = HostKey.written(sshd.known_hosts.read_text().partition(" ")[2])
    names = [f"db{number}.example.org" for number in range(20)]
    threads = [
        threading.Thread(target=trust, args=(place.home, name, 22, key), kwargs={"instead": False}) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.split()[0] for line in kept.read_text().splitlines()) == sorted(names)


@pytest.mark.parametrize(
    "given",
    ["", "a b", "*", "host,other", "-oProxyCommand=x", "host:0", "host:99999", "|1|x|y", "@revoked", "a\nb c d"],
)
def test_what_is_no_address_is_refused(place: Place, given: str) -> None:
    place.run("host", "trust", "--yes", "--", given, code=64)


def test_nobody_there_is_unreachable(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "no connection" in place.run("host", "trust", f"127.0.0.1:{free.getsockname()[1]}", "--yes", code=6).err
