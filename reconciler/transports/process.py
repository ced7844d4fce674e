"""Child processes that cannot get lost. The engine's wiring makes one `ProcessRunner` a step; kinds call its `run`.

A program is started behind a gate: a shell that leads a process group and session of its own reads one line before it
becomes the program. While it waits there, its group and start time are journalled (`on_start`), so whoever comes after
a crash can end it. When we die before the line is written, the shell reads the end of its input and exits, and the
program has never run; when we die later, the kernel kills the group's leader (PDEATHSIG, set by `setpriv` of
util-linux; where that is missing only the journal is left), and `groups.kill_group` ends what the leader had started.

PDEATHSIG follows the thread that started the child, which is why `run` does all its waiting in the calling thread.
"""

from __future__ import annotations

import codecs
import errno
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NoReturn

from reconciler.errors import DeadlineError, TerminalError
from reconciler.transports.groups import kill_group as kill_group
from reconciler.transports.groups import start_time_of
from reconciler.transports.output import KEPT_BYTES as KEPT_BYTES
from reconciler.transports.output import LAST_LINES, Kept, Streamed
from reconciler.transports.output import last_lines as last_lines

GRACE = 2.0
_POLL = 0.1
_CHUNK = 65536
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_GATE = 'read -r go || exit 125; exec "$@"'
_GATE_WITHOUT_INPUT = 'read -r go || exit 125; exec "$@" </dev/null'
_DETACH = 'log=$1; shift; echo $$; exec "$@" </dev/null >>"$log" 2>&1'


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. returncode: negative for the signal that ended it. duration: seconds.

    stdout, stderr: decoded, bad bytes replaced; of long output the middle is left out, with a line that says how much.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    duration: float

    def last_lines(self, count: int = LAST_LINES) -> str:
        """The end of what it said: its errors, or else its output."""
        return last_lines(self.stderr, count) or last_lines(self.stdout, count)


@dataclass(frozen=True, slots=True)
class _Hooks:
    on_start: Callable[[int, int, str], None] | None
    on_output: Callable[[str], None] | None
    cancelled: Callable[[], Exception | None] | None
    private: bool = False


class ProcessRunner:
    """Runs commands: `kind.ProcessTransport`. Safe to use from several threads.

    on_start: called with process group, start time and the command as text before the program runs; when it raises, the
    program never runs. on_output: called with text as it comes, at most KEPT_BYTES a command. cancelled: asked ten
    times a second; an exception that it returns ends the whole group at once and is raised.
    """

    def __init__(
        self,
        *,
        on_start: Callable[[int, int, str], None] | None = None,
        on_output: Callable[[str], None] | None = None,
        cancelled: Callable[[], Exception | None] | None = None,
    ) -> None:
        self._hooks = _Hooks(on_start, on_output, cancelled)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Completed:
        """Run `argv` and wait. See `kind.ProcessTransport.run`; the working folder is /.

        Raises TerminalError("MissingTool") for a program that is not there, DeadlineError past `timeout` seconds, and
        what a hook raises. Whatever the command left running in its group is ended with it.
        """
        started = time.monotonic()
        environment = child_environment(env)
        command = _gated(_resolved(argv, environment), with_input=stdin is not None)
        hooks = replace(self._hooks, on_output=None, private=True) if private else self._hooks
        child = _Child(_spawn(command, environment), tuple(argv), hooks)
        try:
            child.open_gate(stdin)
            child.wait(started + timeout, timeout)
        finally:
            child.end()
        return child.completed(time.monotonic() - started)


def spawn_detached(argv: Sequence[str], log_path: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives us: a session of its own, its output appended to `log_path`. Returns its pid.

    It is nobody's child afterwards, so it leaves no zombie. Raises TerminalError("MissingTool").
    """
    environment = child_environment(env)
    command = ["setsid", "--fork", "/bin/sh", "-c", _DETACH, "sh", str(log_path), *_resolved(argv, environment)]
    log_path.touch(mode=0o600)
    with _spawn(_resolved(command, environment), environment) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdin.close()
        pid = starter.stdout.readline()
    if not pid.strip().isdigit():
        raise TerminalError("SpawnFailed", f"{argv[0]} could not be started as a process of its own")
    return int(pid)


def child_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a child: a short fixed list of ours, and `env`. No KUBECONFIG, no tokens of ours."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **inherited, **(env or {})}


def _resolved(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """`argv` with the program's full path."""
    if not argv or any("\0" in part for part in argv):
        raise TerminalError("BadCommand", "a command needs a program, and no argument may hold a NUL character")
    program = shutil.which(argv[0], path=environment["PATH"])
    if program is None:
        raise TerminalError("MissingTool", f"{argv[0]} is not installed (looked in {environment['PATH']})")
    return [program, *argv[1:]]


def _gated(argv: Sequence[str], *, with_input: bool) -> list[str]:
    setpriv = shutil.which("setpriv")
    tied_to_us = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return [*tied_to_us, "/bin/sh", "-c", _GATE if with_input else _GATE_WITHOUT_INPUT, "sh", *argv]


def _spawn(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", env=dict(environment), start_new_session=True
        )
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise TerminalError("BadCommand", f"the arguments of {command[-1][:80]} are too long") from error
        raise TerminalError("SpawnFailed", f"no process could be started: {error}") from error


class _Child:
    """One started command: its pipes, its deadline, its end."""

    def __init__(self, process: subprocess.Popen[bytes], argv: tuple[str, ...], hooks: _Hooks) -> None:
        self._process = process
        self._argv = argv
        self._hooks = hooks
        self._streamed = Streamed(hooks.on_output)
        self._selector = selectors.DefaultSelector()
        self._kept: dict[IO[bytes], Kept] = {}
        self._decoders: dict[IO[bytes], codecs.IncrementalDecoder] = {}
        self._input = memoryview(b"")
        self._pidfd = _pidfd(process.pid)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._kept[stream] = Kept()
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
            self._selector.register(stream, selectors.EVENT_READ)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    def open_gate(self, text: str | None) -> None:
        """Have the group journalled, then let the program run with `text` as its input."""
        pid = self._process.pid
        if self._hooks.on_start is not None:
            self._hooks.on_start(pid, start_time_of(pid) or 0, shlex.join(self._argv))
        stdin = self._process.stdin
        assert stdin is not None
        os.set_blocking(stdin.fileno(), False)
        self._input = memoryview(b"go\n" + (text or "").encode("utf-8", "surrogateescape"))
        self._selector.register(stdin, selectors.EVENT_WRITE)

    def wait(self, expires: float, timeout: float) -> None:
        """Pump until the program has ended. Raises DeadlineError, or what the cancel hook says."""
        while not self._has_ended():
            self._ask_whether_cancelled()
            if time.monotonic() >= expires:
                self._end_late(timeout)
            self._pump(min(_POLL, max(0.0, expires - time.monotonic())))
        self._pump_until(time.monotonic() + GRACE / 4)

    def end(self) -> None:
        """Leave nothing: the group is killed while its leader's number is still ours, then the leader is reaped."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def completed(self, duration: float) -> Completed:
        """What there is to say once it has ended."""
        stdout, stderr = (kept.text() for kept in self._kept.values())
        return Completed(self._argv, self._process.returncode, stdout, stderr, duration)

    def _has_ended(self) -> bool:
        """Whether the leader has ended; it is not reaped, so that its number stays taken."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _ask_whether_cancelled(self) -> None:
        reason = self._hooks.cancelled() if self._hooks.cancelled is not None else None
        if reason is not None:
            raise reason

    def _end_late(self, timeout: float) -> NoReturn:
        self._signal(signal.SIGTERM)
        give_up = time.monotonic() + GRACE
        while not self._has_ended() and time.monotonic() < give_up:
            self._ask_whether_cancelled()
            self._pump(_POLL)
        said = "" if self._hooks.private else last_lines("\n".join(kept.text() for kept in self._kept.values()))
        message = f"{self._argv[0]} did not end within {timeout:g} s and was killed"
        raise DeadlineError("Deadline", f"{message}; it said last:\n{said}" if said else message)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _pump_until(self, give_up: float) -> None:
        """Read what is left; somebody that the program left behind may hold the pipes open, so not for ever.

        What the pipes hold already is read in any case, however late this thread comes to it on a busy machine.
        """
        if self._pidfd is not None and self._pidfd in self._selector.get_map():
            self._selector.unregister(self._pidfd)
        self._pump(0.0)
        while any(stream in self._selector.get_map() for stream in self._kept) and time.monotonic() < give_up:
            self._pump(_POLL)

    def _pump(self, wait: float) -> None:
        """Move bytes once, waiting up to `wait` seconds for some."""
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._process.stdin:
                self._feed(self._process.stdin)
            elif key.fd != self._pidfd:
                self._drain(next(stream for stream in self._kept if stream is key.fileobj))

    def _feed(self, stdin: IO[bytes]) -> None:
        try:
            self._input = self._input[os.write(stdin.fileno(), self._input[:_CHUNK]) :]
        except BrokenPipeError:
            self._input = memoryview(b"")
        if not self._input:
            self._selector.unregister(stdin)
            stdin.close()

    def _drain(self, stream: IO[bytes]) -> None:
        chunk = os.read(stream.fileno(), _CHUNK)
        self._kept[stream].add(chunk)
        self._streamed.add(self._decoders[stream].decode(chunk, final=not chunk))
        if not chunk:
            self._selector.unregister(stream)


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; without one its end is noticed by polling."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
