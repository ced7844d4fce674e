"""Kubeconfigs are code from somewhere else: what they may do is a table."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.errors import TerminalError
from reconciler.model.secret import Secret
from reconciler.transports.kubeconfig import KubeconfigPolicy, check_kubeconfig, is_forbidden_host, read_access

TOKEN = "s3cr3t-t0ken"


def kubeconfig(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": TOKEN} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_an_ordinary_one_is_read() -> None:
    document = kubeconfig({"certificate-authority-data": b64("PEM"), "tls-server-name": "kubernetes"})
    access = check_kubeconfig(document, KubeconfigPolicy())
    assert (access.host, access.port, access.path, access.ca) == ("127.0.0.1", 6443, "", "PEM")
    assert access.server_name == "kubernetes"
    assert isinstance(access.token, Secret)
    assert access.token.reveal() == TOKEN
    assert access.server == "https://127.0.0.1:6443"


def test_ports_paths_and_ipv6_are_understood() -> None:
    access = check_kubeconfig(kubeconfig({"server": "https://rancher.example/k8s/clusters/c-1/"}), KubeconfigPolicy())
    assert (access.host, access.port, access.path) == ("rancher.example", 443, "/k8s/clusters/c-1")
    access = check_kubeconfig(kubeconfig({"server": "https://[fd12::1]:6443"}), KubeconfigPolicy())
    assert access.server == "https://[fd12::1]:6443"


UNSAFE: list[tuple[str, dict[str, Any], dict[str, Any] | None, str]] = [
    ("exec", {}, {"exec": {"command": "sh", "args": ["-c", "id"]}}, "exec"),
    ("exec beside a token", {}, {"token": TOKEN, "exec": {"command": "sh"}}, "exec"),
    ("auth-provider", {}, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "auth-provider"),
    ("tokenFile", {}, {"tokenFile": "/etc/shadow"}, "tokenFile"),
    ("tokenFile beside it", {}, {"tokenFile": "token"}, "tokenFile"),
    ("proxy", {"proxy-url": "http://attacker.example:8080"}, None, "proxy-url"),
    ("plain http", {"server": "http://127.0.0.1:8080"}, None, "https"),
    ("file scheme", {"server": "file://host/etc/passwd"}, None, "https"),
    ("credentials in the address", {"server": "https://user:pw@127.0.0.1:6443"}, None, "credentials"),
    ("metadata by number", {"server": "https://169.254.169.254"}, None, "169.254.169.254"),
    ("certificate elsewhere", {"certificate-authority": "/etc/ssl/ca.pem"}, None, "certificate-authority"),
    ("certificate above", {"certificate-authority": "../ca.pem"}, None, "certificate-authority"),
    ("key elsewhere", {}, {"client-certificate-data": b64("x"), "client-key": "/root/.ssh/id_rsa"}, "client-key"),
]


@pytest.mark.parametrize(("cluster", "user", "named"), [row[1:] for row in UNSAFE], ids=[row[0] for row in UNSAFE])
def test_what_runs_programs_or_leads_elsewhere_is_refused(
    cluster: dict[str, Any], user: dict[str, Any] | None, named: str
) -> None:
    with pytest.raises(TerminalError, match=named) as caught:
        check_kubeconfig(kubeconfig(cluster, user), KubeconfigPolicy(), folder=Path("/srv/kube"))
    assert caught.value.reason == "UnsafeKubeconfig"
    assert TOKEN not in caught.value.message


INSECURE = {"insecure-skip-tls-verify": True}
BAD: list[tuple[str, Any, str]] = [
    ("not a mapping", ["x"], "mapping"),
    ("nothing", None, "mapping"),
    ("no context", {"clusters": []}, "current-context"),
    ("context is a list", {"current-context": ["x"]}, "current-context"),
    ("unknown context", {**kubeconfig(), "current-context": "other"}, "contexts has no entry named 'other'"),
    ("entries are no list", {**kubeconfig(), "clusters": {"name": "c"}}, "clusters has no entry"),
    ("no such user", {**kubeconfig(), "users": []}, "users has no entry"),
    ("no server", kubeconfig({"server": ""}), "server"),
    ("server is a number", kubeconfig({"server": 5}), "server is not a string"),
    ("port out of range", kubeconfig({"server": "https://h:99999"}), "server"),
    ("white space in the address", kubeconfig({"server": "https://h:1\r\nX: y"}), "server"),
    ("query in the address", kubeconfig({"server": "https://h:1/?a=b"}), "server"),
    (
        "insecure and a CA",
        kubeconfig({"insecure-skip-tls-verify": True, "certificate-authority-data": b64("x")}),
        "both",
    ),
    ("insecure and a CA file", kubeconfig({"insecure-skip-tls-verify": True, "certificate-authority": "ca"}), "both"),
    ("insecure as text", kubeconfig({"insecure-skip-tls-verify": "yes"}), "neither true nor false"),
    ("CA is no base64", kubeconfig({"certificate-authority-data": "%%%"}), "certificate-authority-data"),
    ("token with a line break", kubeconfig(user={"token": "a\r\nX-Admin: 1"}), "token"),
    ("impersonation", kubeconfig(user={"token": "a", "as": "root"}), "as:"),
]


@pytest.mark.parametrize(("document", "named"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_used_is_named(document: Any, named: str) -> None:
    with pytest.raises(TerminalError, match=named) as caught:
        check_kubeconfig(document, KubeconfigPolicy(), folder=Path("/srv/kube"))
    assert caught.value.reason == "BadKubeconfig"


def test_only_the_chosen_context_counts() -> None:
    document = copy.deepcopy(kubeconfig())
    document["users"].append({"name": "cloud", "user": {"exec": {"command": "aws"}}})
    document["contexts"].append({"name": "cloud", "context": {"cluster": "c", "user": "cloud"}})
    assert check_kubeconfig(document, KubeconfigPolicy()).token
    with pytest.raises(TerminalError, match="exec"):
        check_kubeconfig(document, KubeconfigPolicy(), "cloud")


def test_the_operator_may_allow_more() -> None:
    folder = Path("/srv/kube")
    allowed = KubeconfigPolicy(allow_proxy=True, allow_token_file=True, allow_files_elsewhere=True)
    document = kubeconfig(
        {"proxy-url": "http://proxy:3128", "certificate-authority": "/etc/ca.pem"}, {"tokenFile": "token"}
    )
    access = check_kubeconfig(document, allowed, folder=folder)
    assert access.proxy == "http://proxy:3128"
    assert access.ca == Path("/etc/ca.pem")
    assert access.token == folder / "token"


def test_others_are_told_by_what_the_server_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    document = kubeconfig({"certificate-authority": "ca.pem", "tls-server-name": "kubernetes"})
    assert check_kubeconfig(document, KubeconfigPolicy(), folder=tmp_path).trust() == ("kubernetes", "PEM", False)
    blind = kubeconfig({"insecure-skip-tls-verify": True})
    assert check_kubeconfig(blind, KubeconfigPolicy()).trust() == ("127.0.0.1", "", True)
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(TerminalError, match=r"ca\.pem cannot be read as a certificate"):
        check_kubeconfig(document, KubeconfigPolicy(), folder=tmp_path).trust()


def test_a_link_out_of_the_folder_is_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "kube"
    folder.mkdir()
    (tmp_path / "elsewhere.pem").write_text("PEM")
    (folder / "ca.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(TerminalError, match="outside"):
        check_kubeconfig(kubeconfig({"certificate-authority": "ca.pem"}), KubeconfigPolicy(), folder=folder)
    (folder / "own.pem").write_text("PEM")
    access = check_kubeconfig(kubeconfig({"certificate-authority": "own.pem"}), KubeconfigPolicy(), folder=folder)
    assert access.ca == folder / "own.pem"


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "FE80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "metadata",
        "METADATA.google.internal.",
        "instance-data.ec2.internal",
    ],
)
def test_metadata_addresses_are_recognised_in_any_spelling(host: str) -> None:
    assert is_forbidden_host(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "192.168.51.30", "::1", "metadata.example.com", "kube.test", "169.com"]
)
def test_ordinary_addresses_are_not(host: str) -> None:
    assert not is_forbidden_host(host)


def test_a_file_is_read_with_its_name_in_every_error(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with pytest.raises(TerminalError, match="there is no kubeconfig"):
        read_access(path)
    path.write_text(yaml.safe_dump(kubeconfig(user={"exec": {"command": "sh"}})))
    with pytest.raises(TerminalError, match=rf"{path}: users\[u\].user.exec"):
        read_access(path)
    path.write_text(yaml.safe_dump(kubeconfig()))
    assert read_access(path).host == "127.0.0.1"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: [", b"!!python/object/apply:os.system ['id']", b"x" * 2_000_000]
)
def test_a_file_that_is_no_kubeconfig_is_a_terminal_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(TerminalError, match=str(path)):
        read_access(path)


def test_secrets_are_not_printed() -> None:
    access = check_kubeconfig(kubeconfig(user={"username": "admin", "password": "hunter2"}), KubeconfigPolicy())
    assert "hunter2" not in repr(access)
    assert TOKEN not in repr(check_kubeconfig(kubeconfig(), KubeconfigPolicy()))
