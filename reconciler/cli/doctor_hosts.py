"""What doctor says of SSH, and of what the resources of the specs need outside of us. Called by `doctor_commands`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError
from reconciler.model.finding import Finding

if TYPE_CHECKING:
    from reconciler.cli.session import Session
    from reconciler.engine.runtime import Runtime
    from reconciler.model.resource import Resource
    from reconciler.transports.git_place import GitPlace

_AT_ONCE = 8


def agent() -> Iterator[Finding]:
    """The ssh agent, whose keys log in where a document names none."""
    needed = "start one, or name an `identity` in the documents, if you have hosts over SSH"
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        yield Finding("note", "ssh agent", "none runs for you", needed)
        return
    from reconciler.transports.ssh_login import agent_answers, agent_keys  # noqa: PLC0415 - paramiko is slow to import

    if not agent_answers():
        yield Finding("warning", "ssh agent", f"{socket} does not answer", needed)
        return
    with agent_keys() as keys:
        pass
    if keys:
        yield Finding("ok", "ssh agent", f"it has {len(keys)} key{'s' if len(keys) > 1 else ''}")
    else:
        yield Finding("note", "ssh agent", "it has no keys", "ssh-add, if you need it")


def known_hosts(home: Path) -> Iterator[Finding]:
    """HOME/known_hosts: can it be read, and only be written by its owner."""
    from reconciler.transports.ssh_home import KNOWN_HOSTS, home_known_hosts  # noqa: PLC0415 - only when called
    from reconciler.transports.ssh_trust import names_of  # noqa: PLC0415

    path = home / KNOWN_HOSTS
    try:
        lines = [line for line in home_known_hosts(home) if names_of(line)]
    except ReconcilerError as error:
        yield Finding("error", "known hosts", error.message, "repair the file: nobody is trusted meanwhile")
        return
    if path.exists() and path.stat().st_mode & 0o022:
        yield Finding("error", "known hosts", f"others may write {path}", f"chmod 600 {path}, and compare its keys")
    elif lines:
        yield Finding("ok", "known hosts", f"{path} names {len(lines)} host{'s' if len(lines) > 1 else ''}")
    else:
        yield Finding(
            "note", "known hosts", "the home trusts no host", "reconciler host trust ADDRESS, if you need one"
        )


def of_resources(session: Session, specs: Path | GitPlace | None, asked: Mapping[str, Any]) -> Iterator[Finding]:
    """What kinds say of what the resources of the specs, and of the store, need."""
    from reconciler.kind import Checks  # noqa: PLC0415 - the engine, only when called

    try:
        with session.engine("doctor", asked.get("variables")) as (runtime, _):
            workspace = session.workspace(runtime, specs, asked)
            offering = runtime.kinds.offering(Checks)
            resources = [
                one
                for ref, one in sorted(workspace.desired.items())
                if ref.kind in offering and ref not in workspace.frozen and one.lifecycle.state != "absent"
            ]
            for problem in workspace.problems:
                where = f"{problem.path}:{problem.line}:{problem.column}"
                yield Finding("error", where, problem.message, "repair the document")
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
                for found in pool.map(lambda one: _of_resource(runtime, one), resources):
                    yield from found
    except ReconcilerError as error:
        yield Finding("error", "specs", error.message)


def _of_resource(runtime: Runtime, resource: Resource) -> list[Finding]:
    from reconciler.engine.context import ObserveContext  # noqa: PLC0415 - the engine is loaded by then
    from reconciler.kind import Checks  # noqa: PLC0415

    kind = resource.ref.kind
    context = ObserveContext(runtime, kind, runtime.settings.observe_timeout)
    try:
        return list(runtime.kinds.offering(Checks)[kind].checks(resource, context))
    except ReconcilerError as error:
        return [Finding("error", str(resource.ref), error.message)]


def ssh(home: Path) -> Iterator[Finding]:
    """All that is ours to have for SSH."""
    yield from agent()
    yield from known_hosts(home)
