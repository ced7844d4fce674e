"""How the tests of SSH log in on their sshd, and how they get at the processes behind a connection."""

from __future__ import annotations

import getpass
import os
import signal
from contextlib import suppress

from git_servers import Ssh as Sshd

from reconciler.model.secret import Secret
from reconciler.transports.ssh import Ssh, SshPlace
from reconciler.transports.ssh_trust import read_known_hosts

_ANCESTORS = (
    "p=$$; while [ $p -gt 1 ]; do echo $p $(tr '\\0' ' ' </proc/$p/cmdline); "
    "p=$(sed -n 's/^PPid:.//p' /proc/$p/status); done"
)


def place_on(sshd: Sshd) -> SshPlace:
    """A login with the key that it lets in."""
    identity = Secret(sshd.key.read_text(), "file:key")
    return SshPlace("127.0.0.1", sshd.port, getpass.getuser(), identity, read_known_hosts(sshd.known_hosts))


def connection_of(host: Ssh) -> str:
    """Both ends of the connection that a command runs over."""
    return host.run("echo $SSH_CONNECTION", timeout=30).stdout.strip()


def sessions_of(host: Ssh) -> list[int]:
    """The server's processes that serve this connection."""
    above = host.run(_ANCESTORS, timeout=30).stdout.splitlines()
    found = [int(line.split()[0]) for line in above if "sshd: " in line and "listener" not in line]
    assert found
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send it to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):  # with the first of them the others go
            os.kill(pid, number)
