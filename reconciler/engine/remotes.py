"""The repositories, REST APIs and hosts that kinds reach, with what the home says of them all. Called by `context`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.transports.git_remote import GitRemote
from reconciler.transports.ssh_home import home_known_hosts, trusting

if TYPE_CHECKING:
    from reconciler.engine.runtime import Runtime
    from reconciler.transports.git_access import RemoteAccess
    from reconciler.transports.http import Http
    from reconciler.transports.http_access import HttpAccess
    from reconciler.transports.process import ProcessRunner
    from reconciler.transports.ssh import Ssh, SshPlace
    from reconciler.transports.ssh_connection import Cancelled


def open_remote(
    runtime: Runtime, url: str, access: RemoteAccess, process: ProcessRunner, sleep: Callable[[float], None]
) -> GitRemote:
    """A repository on a git server, through the home's working copy of it. Raises SpecError."""
    git = runtime.settings.git
    completed = replace(
        access,
        known_hosts_file=access.known_hosts_file or git.known_hosts,
        ca_file=access.ca_file or git.ca_file,
    )
    return GitRemote(runtime.home / "remotes", url, completed, process, sleep, runtime.looks)


def open_http(runtime: Runtime, base: str, access: HttpAccess) -> Http:
    """A REST API. Raises SpecError."""
    from reconciler.transports.http import Http  # noqa: PLC0415 - 60 ms that who only pushes need not pay

    settings = runtime.settings
    completed = replace(
        access, ca_file=access.ca_file or settings.git.ca_file, use_proxy=access.use_proxy or settings.git.use_proxy
    )
    return Http(base, completed)


def open_ssh(runtime: Runtime, place: SshPlace, cancelled: Cancelled) -> Ssh:
    """A host, over the process's one connection to it. Raises UsageError for known hosts that cannot be read."""
    known = home_known_hosts(runtime.home)
    return runtime.hosts.lend(trusting(place, known), cancelled)
