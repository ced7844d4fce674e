"""The keys and certificates of one control plane. Called by `control_plane` before it starts anything.

One authority (ten years) signs two certificates (two years, made anew at a start when they are older than one):
`server` for what clients reach, `etcd` for both ends of every connection to etcd, so that nobody else on this machine
can read it. The key pair of service account tokens is RSA, because clients that verify them themselves expect RS256.
`cryptography` is imported only when something has to be made.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RENEW_AFTER = 365 * 86400
_AUTHORITY_DAYS = 3650
_LEAF_DAYS = 730
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVICE_RANGE = "10.0.0.0/24"
SERVICE_ADDRESS = "10.0.0.1"
_ADDRESSES = ("127.0.0.1", "::1", SERVICE_ADDRESS)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: Path
    key: Path

    def is_there(self) -> bool:
        """Whether both files are."""
        return self.certificate.exists() and self.key.exists()


class Certificates:
    """Paths of the files in `folder`; `ensure` makes what is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Pair(folder / "ca.crt", folder / "ca.key")
        self.server = Pair(folder / "server.crt", folder / "server.key")
        self.etcd = Pair(folder / "etcd.crt", folder / "etcd.key")
        self.accounts_key = folder / "service-accounts.key"
        self.accounts_public = folder / "service-accounts.pub"

    def ensure(self) -> None:
        """Make what is missing or old. A new authority makes all certificates anew."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.authority.is_there():
            for leaf in (self.server, self.etcd):
                leaf.certificate.unlink(missing_ok=True)
            _make_authority(self.authority)
        for leaf, name in ((self.server, "kube-apiserver"), (self.etcd, "etcd")):
            if not leaf.is_there() or time.time() - leaf.certificate.stat().st_mtime > _RENEW_AFTER:
                _make_leaf(self.authority, leaf, name, is_client=leaf is self.etcd)
        if not (self.accounts_key.exists() and self.accounts_public.exists()):
            _make_accounts_pair(self.accounts_key, self.accounts_public)


def _make_authority(pair: Pair) -> None:
    from cryptography import x509  # noqa: PLC0415 - 70 ms, needed only when something is made
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named("reconciler envtest")
    builder = _builder(subject, subject, key.public_key(), _AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = _key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True)
    _sign(builder.add_extension(usage, critical=True), key, key, pair)


def _make_leaf(authority: Pair, pair: Pair, name: str, *, is_client: bool) -> None:
    import ipaddress  # noqa: PLC0415 - only with cryptography, below

    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415 - as above

    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    signer = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(one) for one in _NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(one)) for one in _ADDRESSES]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if is_client else [])]
    builder = (
        _builder(_named(name), issuer.subject, key.public_key(), _LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    _sign(builder, key, signer, pair)


def _make_accounts_pair(private: Path, public: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - as above

    if private.exists():  # killed before the public one was written; tokens are signed with this one
        key: Any = serialization.load_pem_private_key(private.read_bytes(), password=None)
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write(private, _private_text(key))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    _write(public, key.public_key().public_bytes(serialization.Encoding.PEM, form))


def _named(common_name: str) -> Any:
    from cryptography import x509  # noqa: PLC0415 - as above

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _builder(subject: Any, issuer: Any, public_key: Any, days: int) -> Any:
    import datetime  # noqa: PLC0415 - only with cryptography, below

    from cryptography import x509  # noqa: PLC0415 - as above

    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(**allowed: bool) -> Any:
    from cryptography import x509  # noqa: PLC0415 - as above

    usages = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{usage: allowed.get(usage, False) for usage in usages})


def _sign(builder: Any, key: Any, signer: Any, pair: Pair) -> None:
    """Sign and write, the certificate last: without it the pair is not there."""
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above

    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    signed = builder.add_extension(issuer_id, critical=False).sign(signer, hashes.SHA256())
    pair.certificate.unlink(missing_ok=True)
    _write(pair.key, _private_text(key))
    _write(pair.certificate, signed.public_bytes(serialization.Encoding.PEM))


def _private_text(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
