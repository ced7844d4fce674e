"""The parts of a control plane by themselves: command lines, certificates, ports, tokens, a process becoming one."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.errors import TerminalError
from reconciler.kinds.cluster.envtest import binaries, launch, ports
from reconciler.kinds.cluster.envtest.certificates import SERVICE_ADDRESS, Certificates
from reconciler.kinds.cluster.envtest.components import COMPONENTS, Layout, components_of, tokens
from reconciler.kinds.cluster.envtest.processes import Processes
from reconciler.kinds.cluster.envtest.recorded import Record
from tests.clusters.envtest_programs import FLAGS, PROGRAMS
from tests.daemon.lab import until

PORTS = {"etcd": 20001, "etcd-peer": 20002, "kube-apiserver": 20003, "kube-controller-manager": 20004}
RECORD = Record({name: f"/bin/{name}" for name in PROGRAMS}, PORTS, "1.32.0", "first-secret", "second-secret")
LAYOUT = Layout(Path("/home/envtest/dev"))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_only_documented_flags_are_given_each_once(component: object) -> None:
    given = [flag.removeprefix("--").partition("=")[0] for flag in component.arguments(LAYOUT, RECORD)]  # type: ignore[attr-defined]
    assert set(given) <= set(FLAGS[component.name].split())  # type: ignore[attr-defined]
    assert len(set(given)) == len(given)


def test_the_command_lines_hold_no_token_and_listen_on_the_loopback_address_alone() -> None:
    for component in COMPONENTS:
        words = " ".join(component.arguments(LAYOUT, RECORD))
        assert "first-secret" not in words
        assert "second-secret" not in words
        assert "=0.0.0.0" not in words
    assert "--bind-address=127.0.0.1" in COMPONENTS[1].arguments(LAYOUT, RECORD)
    assert "--listen-client-urls=https://127.0.0.1:20001" in COMPONENTS[0].arguments(LAYOUT, RECORD)


def test_service_accounts_are_admitted_where_somebody_makes_them() -> None:
    plugin = "--disable-admission-plugins=ServiceAccount"
    alone = replace(RECORD, programs={name: name for name in PROGRAMS[:2]})
    assert plugin not in COMPONENTS[1].arguments(LAYOUT, RECORD)
    assert plugin in COMPONENTS[1].arguments(LAYOUT, alone)
    assert [component.name for component in components_of(alone)] == list(PROGRAMS[:2])


def test_the_token_file_has_the_administrator_and_the_controllers() -> None:
    assert list(csv.reader(tokens(RECORD).splitlines())) == [
        ["first-secret", "admin", "admin", "system:masters"],
        ["second-secret", "system:kube-controller-manager", "system:kube-controller-manager"],
    ]


def test_certificates_are_for_every_name_and_signed_by_one_authority(tmp_path: Path) -> None:
    files = Certificates(tmp_path / "certificates")
    files.ensure()
    authority = x509.load_pem_x509_certificate(files.authority.certificate.read_bytes())
    for pair, purposes in ((files.server, {"serverAuth"}), (files.etcd, {"serverAuth", "clientAuth"})):
        leaf = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        leaf.verify_directly_issued_by(authority)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"} <= set(
            names.get_values_for_type(x509.DNSName)
        )
        assert {"127.0.0.1", SERVICE_ADDRESS} <= set(map(str, names.get_values_for_type(x509.IPAddress)))
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {purpose._name for purpose in usage} == purposes
    signer = serialization.load_pem_private_key(files.accounts_key.read_bytes(), password=None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    assert {path.stat().st_mode & 0o777 for path in files.folder.iterdir()} == {0o600}


def test_certificates_stay_until_they_are_old_and_come_back_when_they_are_lost(tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    files.ensure()
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files.ensure()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    old = time.time() - 400 * 86400
    os.utime(files.server.certificate, (old, old))
    files.accounts_public.unlink()
    files.ensure()
    second = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"server.crt", "server.key"}
    files.authority.key.unlink()
    files.ensure()
    third = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert all(second[name] != third[name] for name in ("ca.crt", "server.crt", "etcd.crt"))
    assert second["service-accounts.key"] == third["service-accounts.key"], "tokens stay valid"


def test_a_port_is_free_only_while_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.free_port(())
    assert ports.is_free(port)
    with closing(socket.create_server(("127.0.0.1", port))):
        assert not ports.is_free(port)
    monkeypatch.setattr(ports, "FIRST", port)
    monkeypatch.setattr(ports, "LAST", port + 1)
    assert ports.free_port({port + 1}) == port


@pytest.mark.parametrize("setting", [5, "relative/folder", ["/a"]])
def test_a_setting_that_is_no_absolute_path_is_refused(setting: object) -> None:
    with pytest.raises(TerminalError, match="has to be an absolute path"):
        binaries.find({"envtest": {"assets": setting}}, {"PATH": "/bin"})


def test_the_controllers_are_taken_from_beside_the_api_server_alone(tmp_path: Path) -> None:
    def install(folder: str, *names: str) -> str:
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text("#!/bin/sh\n")
            (tmp_path / folder / name).chmod(0o755)
        return str(tmp_path / folder)

    assets, elsewhere = install("assets", "kube-apiserver"), install("bin", *PROGRAMS)
    found = binaries.find({}, {"PATH": elsewhere, "KUBEBUILDER_ASSETS": assets})
    assert found == {"etcd": f"{elsewhere}/etcd", "kube-apiserver": f"{assets}/kube-apiserver"}
    assert set(binaries.find({}, {"PATH": elsewhere})) == set(PROGRAMS)


Launch = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def launched(tmp_path: Path) -> Launch:
    """Starts a program as a component `etcd` of the control plane in `tmp_path`."""
    Processes(tmp_path).prepare(PROGRAMS)

    def start(script: str, limit: int = 1000) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-I", "-S", launch.__file__, str(tmp_path), "etcd", str(limit)]
        return subprocess.Popen([*words, sys.executable, "-c", script], start_new_session=True)

    return start


def ended(process: subprocess.Popen[bytes]) -> int:
    """How it ends once it was asked to."""
    with suppress(ProcessLookupError):
        process.terminate()
    return process.wait(20)


def test_a_second_one_cannot_run(tmp_path: Path, launched: Launch) -> None:
    first = launched("import time; time.sleep(60)")
    processes = Processes(tmp_path)
    until(lambda: processes.find("etcd"))
    assert launched("raise SystemExit(0)").wait(20) == 3
    found = processes.find("etcd")
    assert found is not None
    assert found.pid == first.pid
    ended(first)
    assert processes.find("etcd") is None
    again = launched("raise SystemExit(7)")
    assert again.wait(20) == 7, "its lock went with it"


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_late_one_does_not_start_in_a_folder_that_was_deleted(tmp_path: Path, is_made_again: bool) -> None:
    """It had opened its lock file before that was removed, and gets the lock only afterwards."""
    lock = tmp_path / "etcd.lock"
    lock.touch()
    script = f"""
import fcntl, pathlib
from reconciler.kinds.cluster.envtest import launch
lock, flock = pathlib.Path({str(lock)!r}), fcntl.flock
def later(descriptor, how):
    lock.rename({str(tmp_path / "removed")!r})
    {is_made_again} and lock.touch()
    flock(descriptor, how)
launch.fcntl.flock = later
launch._take_lock(str(lock))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 4


def test_a_log_keeps_within_its_bound_and_has_the_last_words(tmp_path: Path, launched: Launch) -> None:
    script = "import time\nfor n in range(5000): print('line', n, flush=True)\nprint('the last words')"
    assert launched(script, limit=20_000).wait(60) == 0
    log, before = tmp_path / "logs" / "etcd.log", tmp_path / "logs" / "etcd.log.1"
    until(lambda: log.exists() and log.read_text().endswith("the last words\n"))
    assert before.exists()
    for path in (log, before):
        assert path.stat().st_size < 20_000 + 65536
        assert path.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path, launched: Launch) -> None:
    (tmp_path / "logs").rmdir()
    assert launched("for n in range(20000): print('line', n)\nraise SystemExit(7)").wait(60) == 7
