"""Fixtures for the tests of transports."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tls_api import Api, Handler, Server, make_certificate


@pytest.fixture(scope="session")
def certificate() -> tuple[str, str]:
    """For 127.0.0.1."""
    return make_certificate("127.0.0.1")


@pytest.fixture
def api(tmp_path: Path, certificate: tuple[str, str]) -> Iterator[Api]:
    """A server on a port of its own; ended with its connections."""
    files = tmp_path / "server.pem"
    files.write_text("\n".join(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.api = Api(server.server_address[1], certificate[0])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.api
    server.shutdown()
    server.ending.set()
    server.server_close()
    thread.join()
