"""Kubeconfigs as a security boundary: what may be in one, and what is read out of it. Called by `kube`.

A kubeconfig can run programs, read files and send credentials to any address, so it is code from wherever it came
(CVE-2022-24817). Only what a `KubeconfigPolicy` allows gets through; everything else is a TerminalError that names the
field. `check_kubeconfig` is pure; `read_access` does the reading around it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

import yaml

from reconciler.errors import TerminalError
from reconciler.model.secret import Secret
from reconciler.transports.yaml_text import load_yaml

MAX_BYTES = 1_000_000
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_SUFFIXES = (".metadata.google.internal", ".ec2.internal")
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16")
)


@dataclass(frozen=True, slots=True)
class KubeconfigPolicy:
    """What the operator's own settings allow a kubeconfig to do.

    allow_exec: run programs for credentials (`exec`, `auth-provider`). allow_proxy: go through `proxy-url`.
    allow_token_file: `tokenFile`. allow_files_elsewhere: certificates and keys outside the kubeconfig's own folder.
    """

    allow_exec: bool = False
    allow_proxy: bool = False
    allow_token_file: bool = False
    allow_files_elsewhere: bool = False


class Trust(NamedTuple):
    """By what a server is recognised. name: in its certificate. authority: PEM, "" for those of the system.

    insecure: not at all.
    """

    name: str
    authority: str
    insecure: bool


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server, as the checked kubeconfig says.

    path: what the server's URL has before `/api`. ca, certificate, key: PEM text or the file that holds it. program:
    the `exec` section, when the policy allows it. proxy: `http://host:port` or "".
    """

    host: str
    port: int
    path: str = ""
    server_name: str = ""
    insecure: bool = False
    ca: str | Path = ""
    certificate: str | Path = ""
    key: Secret | Path | None = None
    token: Secret | Path | None = None
    basic: tuple[str, Secret] | None = field(default=None, repr=False)
    proxy: str = ""
    program: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def server(self) -> str:
        """The server's address, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{self.path}"

    def trust(self) -> Trust:
        """By what it is recognised. Raises TerminalError when its authority cannot be read."""
        try:
            authority = self.ca.read_text("ascii") if isinstance(self.ca, Path) else self.ca
        except (OSError, ValueError) as error:
            raise TerminalError("BadKubeconfig", f"{self.ca} cannot be read as a certificate") from error
        return Trust(self.server_name or self.host, authority, self.insecure)


def read_access(path: Path, context: str = "", policy: KubeconfigPolicy | None = None) -> Access:
    """Read and check the kubeconfig at `path`; context "" means its current-context. Raises TerminalError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise TerminalError("MissingKubeconfig", f"there is no kubeconfig {path}") from error
    except OSError as error:
        raise TerminalError("BadKubeconfig", f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise TerminalError("BadKubeconfig", f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        document = load_yaml(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TerminalError("BadKubeconfig", f"{path} is not YAML") from error
    try:
        return check_kubeconfig(document, policy or KubeconfigPolicy(), context, path.parent)
    except TerminalError as error:
        raise TerminalError(error.reason, f"{path}: {error.message}") from error


def check_kubeconfig(document: Any, policy: KubeconfigPolicy, context: str = "", folder: Path | None = None) -> Access:
    """What the chosen context of a kubeconfig says, if all of it is allowed. Pure.

    folder: where the kubeconfig lies; files that it names are resolved against it. Raises TerminalError:
    "BadKubeconfig" for what is not a usable kubeconfig, "UnsafeKubeconfig" for what the policy refuses; the field is
    named, its content never.
    """
    if not isinstance(document, Mapping):
        _bad("it is not a mapping")
    name = context or document.get("current-context") or ""
    if not isinstance(name, str) or not name:
        _bad("it has no current-context; name a context")
    chosen = _named(document, "contexts", name, "context")
    cluster_name, user_name = chosen.get("cluster"), chosen.get("user")
    cluster = _Section(_named(document, "clusters", cluster_name, "cluster"), f"clusters[{cluster_name}].cluster")
    user: Mapping[str, Any] = _named(document, "users", user_name, "user") if user_name else {}
    return _Checker(policy, folder or Path("/"), cluster, _Section(user, f"users[{user_name}].user")).access()


def _bad(message: str) -> NoReturn:
    raise TerminalError("BadKubeconfig", message)


def _unsafe(message: str) -> NoReturn:
    raise TerminalError("UnsafeKubeconfig", message)


def _named(document: Mapping[str, Any], part: str, name: object, member: str) -> Mapping[str, Any]:
    entries = document.get(part)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(member), Mapping):
            found: Mapping[str, Any] = entry[member]
            return found
    _bad(f"{part} has no entry named {name!r}")


@dataclass(frozen=True, slots=True)
class _Section:
    """The chosen cluster or user, and how an error names its fields."""

    values: Mapping[str, Any]
    where: str

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            _bad(f"{self.where}.{name} is not a string")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            _bad(f"{self.where}.{name} is neither true nor false")
        return value

    def decoded(self, name: str) -> str:
        text = self.text(name)
        try:
            return base64.b64decode(text, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise TerminalError("BadKubeconfig", f"{self.where}.{name} is not PEM text in base64") from error


class _Checker:
    """Goes through the fields once; every method answers one question about them."""

    def __init__(self, policy: KubeconfigPolicy, folder: Path, cluster: _Section, user: _Section) -> None:
        self._policy = policy
        self._folder = folder
        self._cluster = cluster
        self._user = user

    def access(self) -> Access:
        """The answer, once nothing is refused."""
        program = self._program()
        url = self._server()
        insecure = self._cluster.flag("insecure-skip-tls-verify")
        ca = self._material(self._cluster, "certificate-authority")
        if insecure and ca:
            _bad(f"{self._cluster.where} has both insecure-skip-tls-verify and a certificate authority")
        key = self._material(self._user, "client-key")
        return Access(
            host=str(url.hostname),
            port=url.port or 443,
            path=url.path.rstrip("/"),
            server_name=self._cluster.text("tls-server-name"),
            insecure=insecure,
            ca=ca,
            certificate=self._material(self._user, "client-certificate"),
            key=(key if isinstance(key, Path) else Secret(key, f"{self._user.where}.client-key-data")) if key else None,
            token=self._token(),
            basic=self._basic(),
            proxy=self._proxy(),
            program=program,
        )

    def _program(self) -> Mapping[str, Any] | None:
        if self._user.values.get("as") is not None:
            _bad(f"{self._user.where}.as: acting as somebody else is not supported")
        found = next((name for name in ("exec", "auth-provider") if self._user.values.get(name) is not None), "")
        if found and not self._policy.allow_exec:
            _unsafe(f"{self._user.where}.{found} would run a program; only the operator's settings can allow that")
        if found == "auth-provider":
            _bad(f"{self._user.where}.auth-provider is gone since Kubernetes 1.26: use exec")
        program = self._user.values.get(found)
        if program is not None and not (isinstance(program, Mapping) and isinstance(program.get("command"), str)):
            _bad(f"{self._user.where}.exec has no command")
        return program

    def _server(self) -> SplitResult:
        where, text = f"{self._cluster.where}.server", self._cluster.text("server")
        try:
            url = urlsplit(text)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise TerminalError("BadKubeconfig", f"{where} is not an address") from error
        if not host or port == 0 or url.query or url.fragment or any(ord(sign) <= 32 for sign in text):
            _bad(f"{where} is not an address like https://host:6443")
        if url.username is not None or url.password is not None:
            _unsafe(f"{where} holds credentials")
        if url.scheme != "https":
            _unsafe(f"{where} is not https")
        if is_forbidden_host(host):
            _unsafe(f"{where}: {host} is a link-local or metadata address")
        return url

    def _material(self, section: _Section, name: str) -> str | Path:
        """The PEM text of NAME-data, or else the file that NAME names."""
        if section.text(f"{name}-data"):
            return section.decoded(f"{name}-data")
        named = section.text(name)
        if not named:
            return ""
        path = self._folder / named
        if not self._policy.allow_files_elsewhere and not path.resolve().is_relative_to(self._folder.resolve()):
            _unsafe(f"{section.where}.{name} names a file outside the kubeconfig's own folder")
        return path

    def _token(self) -> Secret | Path | None:
        if self._user.text("tokenFile"):
            if not self._policy.allow_token_file:
                _unsafe(f"{self._user.where}.tokenFile reads a file; only the operator's settings can allow that")
            return self._folder / self._user.text("tokenFile")
        token = self._user.text("token")
        if any(ord(sign) <= 32 or ord(sign) > 126 for sign in token):
            _bad(f"{self._user.where}.token holds characters that a token cannot have")
        return Secret(token, f"{self._user.where}.token") if token else None

    def _basic(self) -> tuple[str, Secret] | None:
        name = self._user.text("username")
        return (name, Secret(self._user.text("password"), f"{self._user.where}.password")) if name else None

    def _proxy(self) -> str:
        proxy = self._cluster.text("proxy-url")
        if proxy and not self._policy.allow_proxy:
            _unsafe(f"{self._cluster.where}.proxy-url sends everything elsewhere; the operator's settings can allow it")
        if proxy and not proxy.startswith("http://"):
            _bad(f"{self._cluster.where}.proxy-url: only http:// proxies are supported")
        return proxy


def is_forbidden_host(host: str) -> bool:
    """True for link-local and metadata addresses, by number in any spelling, and for the names of metadata services."""
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES or name.endswith(_METADATA_SUFFIXES):
        return True
    try:
        return is_forbidden_address(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        pass
    try:  # 2852039166, 0xa9fea9fe, 0251.0376.0251.0376 and 169.254.43518 are addresses too
        return is_forbidden_address(ipaddress.ip_address(socket.inet_aton(name)))
    except (OSError, UnicodeError):
        return False


def is_forbidden_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for link-local and metadata addresses, also when mapped into IPv6."""
    mapped = address.ipv4_mapped or address.sixtofour if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    return plain.is_link_local or plain in _METADATA_ADDRESSES
