"""One host over SSH: commands on one connection that is kept. For kinds, through their `Context`.

Host keys are strict (`ssh_trust`), nobody is asked for a password, nothing is forwarded. Every command goes through
`run`: a deadline that covers opening the channel too and is kept on the host as well, output in bounded memory, an exit
status by code or signal. What the answers mean:

    no connection, no answer in time, connection lost      UnreachableError
    host key unknown, changed or revoked                   TerminalError
    no key that the host takes                             TerminalError("Unauthorized")
    past the deadline                                      DeadlineError
"""

from __future__ import annotations

import codecs
import select
import shlex
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from reconciler.errors import DeadlineError, TerminalError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.output import Kept, Streamed, last_lines
from reconciler.transports.process import Completed
from reconciler.transports.ssh_trust import KnownHost, check_host_key, host_name, known_key_kinds

if TYPE_CHECKING:
    from paramiko import Channel, PKey, Transport

KEEP_ALIVE = 15
"""Seconds without traffic after which the host is asked whether it is there."""
_POLL = 0.1
_CHUNK = 65536
_GRACE = 5
_ON_HOST = (
    'if command -v timeout >/dev/null 2>&1; then exec timeout -k 2 "$1" /bin/sh -c "$2"; else exec /bin/sh -c "$2"; fi'
)
"""What every command runs in: the host ends it by itself when we no longer can. $1: seconds, $2: the script."""


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


class Ssh:
    """One host. Connects when first asked, and again when the connection was lost. Safe to use from several threads.

    cancelled: asked ten times a second while a command runs; an exception that it returns ends the wait for it.
    """

    def __init__(self, place: SshPlace, cancelled: Callable[[], Exception | None] | None = None) -> None:
        self.place = place
        self._cancelled = cancelled
        self._connecting = threading.Lock()
        self._transport: Transport | None = None
        self._jump = Ssh(place.jump) if place.jump is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what still runs on the host runs on until its deadline."""
        with self._connecting:
            if self._transport is not None:
                self._transport.close()
                self._transport = None
        if self._jump is not None:
            self._jump.close()

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        stdin: str | None = None,
        on_output: Callable[[str], None] | None = None,
        private: bool = False,
    ) -> Completed:
        """Run a command and wait. A text is a script for /bin/sh, a sequence is quoted.

        timeout: seconds. A non-zero exit is returned, not raised; one above 128 is mostly that of a signal (128 + its
        number). private: its output is returned, and neither passed on nor quoted.
        """
        script = command if isinstance(command, str) else shlex.join(command)
        if "\0" in script:
            raise TerminalError("BadCommand", "no command may hold a NUL character")
        started = time.monotonic()
        running = _Running(self, script, started + timeout, None if private else on_output)
        try:
            running.start(timeout, stdin)
            running.wait(self._cancelled)
        except _LateError as error:
            said = "" if private else running.said()
            message = f"{self.place}: {script[:80]} did not end within {timeout:g} s"
            raise DeadlineError("Deadline", f"{message}; it said last:\n{said}" if said else message) from error
        finally:
            running.close()
        return running.completed(time.monotonic() - started)

    def open_channel(self, give_up: float) -> Channel:
        """A channel for one command, over the connection that there is or a new one. give_up: monotonic seconds."""
        from paramiko import SSHException  # noqa: PLC0415 - paramiko is slow to import

        transport = self._connected()
        try:
            return transport.open_session(timeout=max(0.01, give_up - time.monotonic()))
        except (SSHException, OSError, EOFError) as error:
            if time.monotonic() >= give_up:
                raise _LateError from error
            self.close()
            raise UnreachableError("ConnectionLost", f"{self.place}: the connection was lost: {_why(error)}") from error

    def _connected(self) -> Transport:
        with self._connecting:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._connect()
            return self._transport

    def _connect(self) -> Transport:
        import paramiko  # noqa: PLC0415 - slow to import

        place, give_up = self.place, time.monotonic() + self.place.connect_timeout
        connection = self._socket(give_up)
        transport = paramiko.Transport(connection)
        transport.banner_timeout = transport.auth_timeout = max(0.1, give_up - time.monotonic())
        try:
            self._prefer_known_kinds(transport)
            transport.start_client(timeout=max(0.1, give_up - time.monotonic()))
            check_host_key(place.known, place.address, place.port, transport.get_remote_server_key())
            self._log_in(transport)
        except (paramiko.SSHException, OSError, EOFError) as error:
            transport.close()
            raise UnreachableError("Unreachable", f"{place}: no SSH connection: {_why(error)}") from error
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(KEEP_ALIVE)
        return transport

    def _socket(self, give_up: float) -> socket.socket | Channel:
        place = self.place
        if self._jump is not None:
            there = (place.address, place.port)
            return self._jump.tunnel(there, give_up)
        try:
            connection = socket.create_connection((place.address, place.port), max(0.1, give_up - time.monotonic()))
        except OSError as error:
            raise UnreachableError("Unreachable", f"{place}: no connection: {_why(error)}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each command waits for a delayed ACK
        return connection

    def tunnel(self, there: tuple[str, int], give_up: float) -> Channel:
        """A connection from this host on to another. Raises UnreachableError."""
        from paramiko import SSHException  # noqa: PLC0415 - likewise

        transport = self._connected()
        try:
            left = max(0.1, give_up - time.monotonic())
            return transport.open_channel("direct-tcpip", there, ("127.0.0.1", 0), timeout=left)
        except (SSHException, OSError, EOFError) as error:
            message = f"{self.place} does not lead on to {there[0]}:{there[1]}: {_why(error)}"
            raise UnreachableError("Unreachable", message) from error

    def _prefer_known_kinds(self, transport: Transport) -> None:
        """Ask for a kind of key that we know the host by: it may have several."""
        options = transport.get_security_options()
        known = known_key_kinds(self.place.known, self.place.address, self.place.port)
        first = [kind for kind in options.key_types if _plain(kind) in known]
        options.key_types = (*first, *(kind for kind in options.key_types if kind not in first))

    def _log_in(self, transport: Transport) -> None:
        from paramiko import AuthenticationException, BadAuthenticationType, SSHException  # noqa: PLC0415 - likewise

        keys = self._keys()
        for key in keys:
            try:
                if not transport.auth_publickey(self.place.user, key):
                    return
            except BadAuthenticationType as error:
                raise self._unauthorized("it takes no keys") from error
            except AuthenticationException:
                continue
            except SSHException as error:
                if not transport.is_active():
                    raise self._unauthorized(_why(error)) from error
                raise
        raise self._unauthorized(
            "it takes none of the keys" if keys else "there is no key: neither an identity nor an agent"
        )

    def _keys(self) -> Sequence[PKey]:
        import paramiko  # noqa: PLC0415 - likewise

        if self.place.identity is None:
            return paramiko.Agent().get_keys()
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return [kind.from_private_key(StringIO(self.place.identity.reveal()))]
            except paramiko.PasswordRequiredException as error:
                raise self._unauthorized(f"the key from {self.place.identity.origin} needs a passphrase") from error
            except (paramiko.SSHException, ValueError, IndexError):
                continue
        raise self._unauthorized(f"what {self.place.identity.origin} holds is no private key")

    def _unauthorized(self, why: str) -> TerminalError:
        return TerminalError("Unauthorized", f"{self.place}: no login: {why}")


class _LateError(Exception):
    """The deadline passed."""


@dataclass(slots=True)
class _Running:
    """One command on a channel of its own. give_up: monotonic seconds."""

    ssh: Ssh
    script: str
    give_up: float
    on_output: Callable[[str], None] | None
    channel: Channel | None = None
    out: Kept = field(default_factory=Kept)
    err: Kept = field(default_factory=Kept)

    def start(self, timeout: float, stdin: str | None) -> None:
        """Begin it. The host gives it a little longer than we do, so that it is we who say why it ended."""
        self.channel = self.ssh.open_channel(self.give_up)
        seconds = str(round(timeout + _GRACE))
        try:
            self.channel.settimeout(max(0.01, self.give_up - time.monotonic()))
            self.channel.exec_command(shlex.join(["/bin/sh", "-c", _ON_HOST, "sh", seconds, f"({self.script}\n)"]))
            if stdin is not None:
                self.channel.sendall(stdin.encode("utf-8", "surrogateescape"))
            self.channel.shutdown_write()
        except TimeoutError as error:
            raise _LateError from error
        except (OSError, EOFError) as error:
            self._lost(error)
        except Exception as error:
            from paramiko import SSHException  # noqa: PLC0415 - likewise

            if isinstance(error, SSHException):
                self._lost(error)
            raise

    def wait(self, cancelled: Callable[[], Exception | None] | None) -> None:
        """Read until it has ended and said all that it has to say."""
        channel = self.channel
        assert channel is not None
        streamed = Streamed(self.on_output)
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(2)]
        while not ((channel.exit_status_ready() and channel.eof_received) or channel.closed) or self._pending():
            reason = cancelled() if cancelled is not None else None
            if reason is not None:
                raise reason
            left = self.give_up - time.monotonic()
            if left <= 0:
                raise _LateError
            poll.poll(min(_POLL, left) * 1000)
            self._drain(decoders, streamed)
        self._drain(decoders, streamed)

    def _pending(self) -> bool:
        assert self.channel is not None
        return bool(self.channel.recv_ready() or self.channel.recv_stderr_ready())

    def _drain(self, decoders: Sequence[codecs.IncrementalDecoder], streamed: Streamed) -> None:
        channel = self.channel
        assert channel is not None
        while channel.recv_ready() or channel.recv_stderr_ready():
            for kept, ready, receive, decoder in (
                (self.out, channel.recv_ready, channel.recv, decoders[0]),
                (self.err, channel.recv_stderr_ready, channel.recv_stderr, decoders[1]),
            ):
                if ready():
                    chunk = receive(_CHUNK)
                    kept.add(chunk)
                    streamed.add(decoder.decode(chunk))

    def said(self) -> str:
        """The end of what it said."""
        return last_lines(f"{self.out.text()}\n{self.err.text()}")

    def completed(self, duration: float) -> Completed:
        """What there is to say once it has ended. Raises UnreachableError when nobody knows how it ended."""
        assert self.channel is not None
        if not self.channel.exit_status_ready() or self.channel.recv_exit_status() < 0:
            self._lost(None)
        status = self.channel.recv_exit_status()
        return Completed((self.script,), status, self.out.text(), self.err.text(), duration)

    def close(self) -> None:
        """Give the channel back."""
        if self.channel is not None:
            self.channel.close()

    def _lost(self, error: Exception | None) -> NoReturn:
        why = f": {_why(error)}" if error is not None else ""
        message = f"{self.ssh.place}: the connection was lost while {self.script[:80]} ran{why}"
        raise UnreachableError("ConnectionLost", message) from error


def _plain(kind: str) -> str:
    """The kind of key behind a kind of signature."""
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _why(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
