"""A kept connection to one host: making it, proving who both ends are, and channels for commands. Used by `ssh`.

Several commands share one connection and disturb each other as little as a lost one disturbs the next: whoever finds
it gone makes another. A host that has vanished without a word is noticed: what it does not acknowledge for
`_UNANSWERED` ends the connection, and every KEEP_ALIVE there is something to acknowledge.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.ssh_login import log_in, why
from reconciler.transports.ssh_trust import HostKey, KnownHost, check_host_key, host_name, known_key_kinds

if TYPE_CHECKING:
    from paramiko import Channel, Transport

KEEP_ALIVE = 15
"""Seconds without traffic after which the host is asked whether it is there."""
_UNANSWERED = 30
_SESSIONS = 8
"""Commands at once: OpenSSH refuses the eleventh."""
_REFUSED_FOR = 30.0
_AGAIN_AFTER = 0.1

Cancelled = Callable[[], Exception | None]


@dataclass(frozen=True, slots=True)
class SshPlace:
    """A login on a host. jump: the host through which it is reached. connect_timeout: seconds, for all of connecting.

    identity: a private key; None: the keys of the ssh agent. known: which host keys are trusted.
    """

    address: str
    port: int = 22
    user: str = "root"
    identity: Secret | None = None
    known: tuple[KnownHost, ...] = ()
    connect_timeout: float = 10.0
    jump: SshPlace | None = None

    def __str__(self) -> str:
        return f"{self.user}@{host_name(self.address, self.port)}"


class LateError(Exception):
    """The deadline of a command passed. Never leaves `ssh`."""


class SshConnection:
    """Connects when first asked, and again when the connection was lost. Safe to use from several threads."""

    def __init__(self, place: SshPlace) -> None:
        _load_paramiko()
        self.place = place
        self._connecting = threading.Lock()
        self._failures = 0
        self._failure: ReconcilerError | None = None
        self._guard = threading.Lock()
        self._closings = 0
        self._transport: Transport | None = None
        self._sessions = threading.BoundedSemaphore(_SESSIONS)
        self._jump = SshConnection(place.jump) if place.jump is not None else None

    def close(self) -> None:
        """End the connection, also one that is being made; what still runs on the host runs on until its deadline."""
        with self._guard:
            self._closings += 1
            transport, self._transport = self._transport, None
        if transport is not None:
            _end(transport)
        if self._jump is not None:
            self._jump.close()

    @contextmanager
    def channel(self, give_up: float, cancelled: Cancelled | None = None) -> Iterator[Channel]:
        """A channel for one command. give_up: monotonic seconds, then LateError. Raises UnreachableError.

        A host lets a connection run so many commands at once (MaxSessions): beyond that we wait for one to end.
        """
        with self._turn(give_up, cancelled):
            channel = self._open_channel(give_up, cancelled)
            try:
                yield channel
            finally:
                _hang_up(channel)

    @contextmanager
    def _turn(self, give_up: float, cancelled: Cancelled | None) -> Iterator[None]:
        while not self._sessions.acquire(timeout=_AGAIN_AFTER):
            _go_on(give_up, cancelled)
        try:
            yield
        finally:
            self._sessions.release()

    def _open_channel(self, give_up: float, cancelled: Cancelled | None) -> Channel:
        """As often as a host that lets us run fewer commands than is usual refuses."""
        from paramiko import SSHException  # noqa: PLC0415 - paramiko is slow to import

        refused_until = time.monotonic() + _REFUSED_FOR
        while True:
            transport = self._connected(give_up)
            unanswered = min(give_up, time.monotonic() + self.place.connect_timeout)
            try:
                return transport.open_session(timeout=max(0.01, unanswered - time.monotonic()))
            except (SSHException, OSError, EOFError) as error:
                now = time.monotonic()
                if now >= give_up:
                    raise LateError from error
                is_refused = transport.is_active() and now < unanswered
                if not is_refused or now >= refused_until:
                    if not is_refused:
                        self._drop(transport)
                    reason, said = (
                        ("Refused", "it runs no command") if is_refused else ("ConnectionLost", "it was lost")
                    )
                    message = f"{self.place}: there is a connection, but {said}: {why(error)}"
                    raise UnreachableError(reason, message) from error
            _go_on(give_up, cancelled)
            time.sleep(_AGAIN_AFTER)

    def offered_key(self) -> HostKey:
        """The host key that it offers, of a kind that is known of it if it has one; it is not checked, nor logged in.

        Raises UnreachableError.
        """
        transport = self._begin(time.monotonic() + self.place.connect_timeout)
        try:
            return HostKey.of(transport.get_remote_server_key())
        finally:
            self._drop(transport)

    def tunnel(self, there: tuple[str, int], give_up: float) -> Channel:
        """A connection from this host on to another. Raises UnreachableError."""
        from paramiko import SSHException  # noqa: PLC0415 - likewise

        transport = self._connected(give_up)
        try:
            left = max(0.1, give_up - time.monotonic())
            return transport.open_channel("direct-tcpip", there, ("127.0.0.1", 0), timeout=left)
        except (SSHException, OSError, EOFError) as error:
            message = f"{self.place} does not lead on to {there[0]}:{there[1]}: {why(error)}"
            raise UnreachableError("Unreachable", message) from error

    def _drop(self, transport: Transport) -> None:
        """Use this one no more; another that somebody has made meanwhile stays."""
        with self._guard:
            if self._transport is transport:
                self._transport = None
        _end(transport)

    def _connected(self, give_up: float) -> Transport:
        failures = self._failures
        with self._alone(give_up):
            if self._transport is not None and self._transport.is_active():
                return self._transport
            if self._failures != failures and self._failure is not None:  # the attempt that we have just waited for
                raise type(self._failure)(self._failure.reason, self._failure.message)
            try:
                return self._connect(give_up)
            except ReconcilerError as error:
                self._failure = error
                self._failures += 1
                raise

    @contextmanager
    def _alone(self, give_up: float) -> Iterator[None]:
        if not self._connecting.acquire(timeout=max(0.01, give_up - time.monotonic())):
            raise LateError
        try:
            yield
        finally:
            self._connecting.release()

    def _connect(self, give_up: float) -> Transport:
        place = self.place
        give_up = min(give_up, time.monotonic() + place.connect_timeout)
        transport = self._begin(give_up)
        with self._dropping(transport):
            check_host_key(place.known, place.address, place.port, transport.get_remote_server_key())
            transport.auth_timeout = max(0.1, give_up - time.monotonic())
            log_in(transport, place)
            transport.set_keepalive(KEEP_ALIVE)
        return transport

    def _begin(self, give_up: float) -> Transport:
        """A connection over which nobody has yet proved who he is."""
        import paramiko  # noqa: PLC0415 - slow to import

        closings = self._closings
        if (log := logging.getLogger("paramiko")).level == logging.NOTSET:
            log.setLevel(logging.CRITICAL)  # it logs a traceback for each error that it raises as well
        transport = paramiko.Transport(self._socket(give_up))
        transport.banner_timeout = max(0.1, give_up - time.monotonic())
        with self._dropping(transport):
            self._keep(transport, closings)
            self._prefer(transport)
            transport.start_client(timeout=max(0.1, give_up - time.monotonic()))
        return transport

    @contextmanager
    def _dropping(self, transport: Transport) -> Iterator[None]:
        """What fails meanwhile ends the connection."""
        from paramiko import SSHException  # noqa: PLC0415 - likewise

        try:
            yield
        except (SSHException, OSError, EOFError) as error:
            self._drop(transport)
            raise UnreachableError("Unreachable", f"{self.place}: no SSH connection: {why(error)}") from error
        except BaseException:
            self._drop(transport)
            raise

    def _keep(self, transport: Transport, closings: int) -> None:
        """From now on it is ours to close, unless that was asked for since we began to connect."""
        with self._guard:
            if self._closings == closings:
                self._transport = transport
                return
        raise UnreachableError("ConnectionLost", f"{self.place}: the connection was closed while it was made")

    def _socket(self, give_up: float) -> socket.socket | Channel:
        place = self.place
        if self._jump is not None:
            return self._jump.tunnel((place.address, place.port), give_up)
        try:
            connection = socket.create_connection((place.address, place.port), max(0.1, give_up - time.monotonic()))
        except OSError as error:
            raise UnreachableError("Unreachable", f"{place}: no connection: {why(error)}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each command waits for a delayed ACK
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux; elsewhere a host that vanished is noticed only much later
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED * 1000)
        return connection

    def _prefer(self, transport: Transport) -> None:
        """Ask for a kind of key that we know the host by: it may have several. And for the ciphers that cost least."""
        options = transport.get_security_options()
        options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)
        known = known_key_kinds(self.place.known, self.place.address, self.place.port)
        first = [kind for kind in options.key_types if _plain(kind) in known]
        options.key_types = (*first, *(kind for kind in options.key_types if kind not in first))


def _load_paramiko() -> None:
    """Import it without `invoke`, which it takes for `Match exec` of an ssh_config: more than half of its time."""
    if "paramiko" in sys.modules or "invoke" in sys.modules:
        return
    sys.modules["invoke"] = None  # type: ignore[assignment]  # how Python is told that there is none
    try:
        import paramiko  # noqa: F401, PLC0415 - slow to import
    finally:
        del sys.modules["invoke"]


def _go_on(give_up: float, cancelled: Cancelled | None) -> None:
    """Raise what ends the wait, if anything does."""
    reason = cancelled() if cancelled is not None else None
    if reason is not None:
        raise reason
    if time.monotonic() >= give_up:
        raise LateError


def _hang_up(channel: Channel) -> None:
    """Give a channel back, also over a connection that is lost by now."""
    from paramiko import SSHException  # noqa: PLC0415 - paramiko is slow to import

    with suppress(SSHException, OSError, EOFError):
        channel.close()


def _end(transport: Transport) -> None:
    transport.close()
    transport.sock.close()  # one that never began, or that ended by itself, leaves it open


def _plain(kind: str) -> str:
    """The kind of key behind a kind of signature."""
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind
