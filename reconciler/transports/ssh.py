"""One host over SSH: commands on one connection that is kept. For kinds, through their `Context`.

Host keys are strict (`ssh_trust`), nobody is asked for a password, nothing is forwarded. Every command goes through
`run`: a deadline that covers connecting and opening the channel too and is kept on the host as well, output in bounded
memory, an exit status by code or signal. What the answers mean:

    no connection, no answer in time, connection lost      UnreachableError
    host key unknown, changed or revoked                   TerminalError
    no key that the host takes                             TerminalError("Unauthorized")
    past the deadline                                      DeadlineError
"""

from __future__ import annotations

import codecs
import select
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from reconciler.errors import DeadlineError, TerminalError, UnreachableError
from reconciler.transports.output import Kept, Streamed, last_lines
from reconciler.transports.process import Completed
from reconciler.transports.ssh_connection import Cancelled, LateError, SshConnection
from reconciler.transports.ssh_connection import SshPlace as SshPlace
from reconciler.transports.ssh_login import why

if TYPE_CHECKING:
    from paramiko import Channel

_POLL = 0.1
_CHUNK = 65536
_PACKET = 32768
_GRACE = 5
_ON_HOST = (
    'if command -v timeout >/dev/null 2>&1; then exec timeout -k 2 "$1" /bin/sh -c "$2"; else exec /bin/sh -c "$2"; fi'
)
"""What every command runs in: the host ends it by itself when we no longer can. $1: seconds, $2: the script."""


class Ssh:
    """One host. Connects when first asked, and again when the connection was lost. Safe to use from several threads.

    cancelled: asked ten times a second while a command runs; an exception that it returns ends the wait for it.
    borrow: a connection that is shared with others, for one command; left out: one of its own, which `close` ends.
    """

    def __init__(
        self,
        place: SshPlace,
        cancelled: Cancelled | None = None,
        borrow: Callable[[], AbstractContextManager[SshConnection]] | None = None,
    ) -> None:
        self.place = place
        self._cancelled = cancelled
        self._own: SshConnection | None = None
        if borrow is None:
            own = self._own = SshConnection(place)
            borrow = lambda: nullcontext(own)  # noqa: E731 - one line says it
        self._borrow = borrow

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, unless it is shared; what still runs on the host runs on until its deadline."""
        if self._own is not None:
            self._own.close()

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        stdin: str | Iterable[bytes] | None = None,
        on_output: Callable[[str], None] | None = None,
        private: bool = False,
    ) -> Completed:
        """Run a command and wait. A text is a script for /bin/sh, a sequence is quoted.

        timeout: seconds. stdin: a text, or bytes that are asked for as the host takes them. A non-zero exit is
        returned, not raised; one above 128 is mostly that of a signal (128 + its number). private: its output is
        returned, and neither passed on nor quoted.
        """
        script = command if isinstance(command, str) else shlex.join(command)
        if "\0" in script:
            raise TerminalError("BadCommand", "no command may hold a NUL character")
        started = time.monotonic()
        give_up = started + timeout
        running = _Running(self.place, script, give_up, None if private else on_output)
        try:
            with self._borrow() as connection, connection.channel(give_up, self._cancelled) as channel:
                running.start(channel, timeout)
                running.wait(_Input(stdin), self._cancelled)
                return running.completed(time.monotonic() - started)
        except LateError as error:
            said = "" if private else running.said()
            message = f"{self.place}: {script[:80]} did not end within {timeout:g} s"
            raise DeadlineError("Deadline", f"{message}; it said last:\n{said}" if said else message) from error


@dataclass(slots=True)
class _Running:
    """One command on a channel of its own. give_up: monotonic seconds."""

    place: SshPlace
    script: str
    give_up: float
    on_output: Callable[[str], None] | None
    channel: Channel | None = None
    out: Kept = field(default_factory=Kept)
    err: Kept = field(default_factory=Kept)

    def start(self, channel: Channel, timeout: float) -> None:
        """Begin it. The host gives it a little longer than we do, so that it is we who say why it ended."""
        self.channel = channel
        seconds = str(round(timeout + _GRACE))
        command = shlex.join(["/bin/sh", "-c", _ON_HOST, "sh", seconds, f"({self.script}\n)"])
        with self._not_lost():
            _execute(self.channel, command)

    def wait(self, given: _Input, cancelled: Cancelled | None) -> None:
        """Give it its input and read until it has ended and said all that it has to say."""
        channel = self.channel
        assert channel is not None
        channel.settimeout(_POLL)
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
                raise LateError
            if given.is_whole:
                poll.poll(min(_POLL, left) * 1000)
            else:
                with self._not_lost():
                    given.give(channel)
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
                    with self._not_lost():  # reading makes room, which the host is told
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

    @contextmanager
    def _not_lost(self) -> Iterator[None]:
        from paramiko import SSHException  # noqa: PLC0415 - slow to import

        try:
            yield
        except (SSHException, OSError, EOFError) as error:
            self._lost(error)

    def _lost(self, error: Exception | None) -> NoReturn:
        because = f": {why(error)}" if error is not None else ""
        message = f"{self.place}: the connection was lost while {self.script[:80]} ran{because}"
        raise UnreachableError("ConnectionLost", message) from error


class _Input:
    """What a command is given to read, as fast as the host takes it. is_whole: there is nothing left to give."""

    def __init__(self, given: str | Iterable[bytes] | None) -> None:
        chunks = [given.encode("utf-8", "surrogateescape")] if isinstance(given, str) else given or ()
        self._chunks = (chunk for chunk in chunks if chunk)
        self._left = memoryview(b"")
        self.is_whole = False

    def give(self, channel: Channel) -> None:
        """Give one packet, or wait for a moment. A command that ends without reading it all has its own reasons."""
        self._left = self._left or memoryview(next(self._chunks, b""))
        try:
            if self._left:
                sent = channel.send(self._left[:_PACKET].tobytes())
                self._left = self._left[sent:]
                self.is_whole = sent == 0
            else:
                channel.shutdown_write()
                self.is_whole = True
        except TimeoutError:
            return
        except OSError:
            if not channel.closed:
                raise
            self.is_whole = True


def _execute(channel: Channel, command: str) -> None:
    """Ask for the command without waiting to be told that it was begun: paramiko would wait for that without end."""
    from paramiko.common import cMSG_CHANNEL_REQUEST  # noqa: PLC0415 - slow to import
    from paramiko.message import Message  # noqa: PLC0415

    request = Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(False)
    request.add_string(command)
    channel.transport._send_user_message(request)  # type: ignore[union-attr]  # there, though not in its stubs
