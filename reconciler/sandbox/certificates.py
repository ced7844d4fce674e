"""The sandbox's own certificate authority and the server certificate that it signs. Called by `service` at start.

One authority a home (ten years), one server certificate for every port (two years, made anew at a start when it is
older than one). `cryptography` is imported only when something has to be made.
"""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Any

_RENEW_AFTER = 365 * 86400
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "::1")


class Certificates:
    """Paths of the files in `folder`; `ensure` makes what is missing."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "ca.crt"
        self.authority_key = folder / "ca.key"
        self.server = folder / "server.crt"
        self.server_key = folder / "server.key"

    def ensure(self) -> None:
        """Make the authority once, and the server certificate when it is missing, old or of another authority."""
        if not (self.authority.exists() and self.authority_key.exists()):
            self.server.unlink(missing_ok=True)
            _make_authority(self.authority, self.authority_key)
        if not (self.server.exists() and self.server_key.exists()) or _age(self.server) > _RENEW_AFTER:
            _make_server(self)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _write(path: Path, content: bytes, mode: int) -> None:
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    partial.replace(path)


def _make_authority(certificate: Path, key_file: Path) -> None:
    from cryptography import x509  # noqa: PLC0415 - 70 ms, needed only on the first start
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "reconciler sandbox")])
    builder = _builder(subject, subject, key.public_key(), days=3650)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(
        _key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True), critical=True
    )
    _sign(builder, key, key, certificate, key_file)


def _make_server(files: Certificates) -> None:
    import ipaddress  # noqa: PLC0415 - only with cryptography, below

    from cryptography import x509  # noqa: PLC0415 - 70 ms, needed only on the first start
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415 - as above

    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    signer = serialization.load_pem_private_key(files.authority_key.read_bytes(), password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    builder = _builder(subject, authority.subject, key.public_key(), days=730)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _sign(builder, key, signer, files.server, files.server_key)


def _builder(subject: Any, issuer: Any, public_key: Any, days: int) -> Any:
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


def _sign(builder: Any, key: Any, signer: Any, certificate: Path, key_file: Path) -> None:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above

    signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    signed = builder.add_extension(signer_id, critical=False).sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_file, private, 0o600)
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)
