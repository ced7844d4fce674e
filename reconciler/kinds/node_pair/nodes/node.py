"""One node of a pair, as the steps use it: reading on the channel, changing at most once. Over `transports.ssh`.

A node that does not answer is asked again for as long as the spec's `reconnect` says; then `WaitingError`, so that the
change stays open and is gone on with when it is back. What can be told apart from "does not answer" is never retried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.errors import TerminalError, UnreachableError, WaitingError
from reconciler.kinds.node_pair.spec import Command, NodeSpec, Role
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh
from reconciler.transports.ssh_detached import DetachedCommands, Found

READ_TIMEOUT = 30.0
_AGAIN_AFTER = 1.0
_SUDO = ("sudo", "-n", "--")

T = TypeVar("T")


def _nothing(_text: str) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class Node:
    """A node. patience: seconds that it may be away. sleep: waits, or raises when nothing more may be done.

    log: what people may read of what runs there.
    """

    spec: NodeSpec
    ssh: Ssh
    patience: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    log: Callable[[str], None] = field(default=_nothing)

    @property
    def role(self) -> Role:
        """master or backup, as declared."""
        return self.spec.role

    @property
    def address(self) -> str:
        """What it is reached by."""
        return self.spec.address

    @property
    def detached(self) -> DetachedCommands:
        """Commands that outlive the connection, each at most once."""
        return DetachedCommands(self.ssh, self._become)

    @property
    def _become(self) -> tuple[str, ...]:
        return _SUDO if self.spec.become == "sudo" else ()

    def run(
        self,
        script: str | Sequence[str],
        *,
        timeout: float = READ_TIMEOUT,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Completed:
        """Run a script as root, straight on the channel: for what reads, and for what may be done twice.

        A lost connection or a node that is away is tried again for `patience` seconds. A non-zero exit is returned.
        Raises DeadlineError, TerminalError (no login, host key), WaitingError("NodeUnreachable").
        """
        command = self._command(script, env or {})
        return self.patiently(lambda: self.ssh.run(command, timeout=timeout, stdin=stdin, private=private))

    def read(self, script: str | Sequence[str], *, timeout: float = READ_TIMEOUT, stdin: str | None = None) -> str:
        """What a script says that has to succeed. Raises TerminalError("CommandFailed") too."""
        done = self.run(script, timeout=timeout, stdin=stdin)
        if done.returncode:
            raise TerminalError("CommandFailed", f"{self.role} ({self.address}): {done.last_lines(3) or 'failed'}")
        return done.stdout

    def once(self, name: str, command: Command, env: Mapping[str, str]) -> Found:
        """Run a command of the spec to its end, at most once under this name; see `DetachedCommands`.

        One that is `repeatable` runs on the channel, and again after an interruption. What it says goes to `log`.
        Raises TerminalError("Interrupted") for one that began, ended nobody knows how, and must not run again.
        """
        if command.repeatable:
            script = self._command(command.script, env)
            run = lambda: self.ssh.run(script, timeout=command.timeout, on_output=self.log)  # noqa: E731 - one line
            done = self.patiently(run)
            return Found("ended", done.returncode, said=done.last_lines(5))
        exported = {**env}
        self.patiently(lambda: self.detached.start(name, command.script, timeout=command.timeout, env=exported))
        found = self.patiently(lambda: self._awaited(name, command))
        if found.standing == "interrupted":
            message = f"{self.role} ({self.address}): {command.name} began and did not end: the node went down with it"
            raise TerminalError("Interrupted", message)
        return found

    def patiently(self, call: Callable[[], T]) -> T:
        """Call until the node answers, `patience` seconds long. Raises WaitingError("NodeUnreachable")."""
        give_up = time.monotonic() + self.patience
        while True:
            try:
                return call()
            except UnreachableError as error:
                if time.monotonic() >= give_up:
                    message = f"{self.role} ({self.address}) does not answer: {error.message}"
                    raise WaitingError("NodeUnreachable", message, retry_after=15.0) from error
                self.log(f"{self.role} does not answer; asking again\n")
                self.sleep(_AGAIN_AFTER)

    def _awaited(self, name: str, command: Command) -> Found:
        return self.detached.wait(name, timeout=command.timeout + 30, on_output=self.log, sleep=self.sleep)

    def _command(self, script: str | Sequence[str], env: Mapping[str, str]) -> list[str]:
        words = ["/bin/sh", "-c", script] if isinstance(script, str) else list(script)
        settings = [f"{name}={value}" for name, value in env.items()]
        return [*self._become, *(("env", *settings) if settings else ()), *words]
