"""doctor: is everything there, is the database whole, what is stuck, why, and what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler import __version__
from reconciler.cli import doctor_hosts
from reconciler.cli.session import Session
from reconciler.cli.sources import source_options
from reconciler.cli.variables import variables_option
from reconciler.errors import ReconcilerError
from reconciler.model.finding import Finding

if TYPE_CHECKING:
    from reconciler.store.database import Database

_TOOLS = (
    ("git", ["--version"]),
    ("kubectl", ["version", "--client"]),
    ("setpriv", ["--version"]),
    ("docker", ["version", "--format", "{{.Server.Version}}"]),
    ("kind", ["version"]),
    ("k3d", ["version"]),
)
_NEEDED_FOR = {"docker": "clusters of kind and k3d", "kind": "clusters of kind", "k3d": "clusters of k3d"}
_FULL = 90
_SIGNS = {"ok": ("✓", "green"), "note": ("·", "cyan"), "warning": ("!", "yellow"), "error": ("✗", "red")}
PROBE_TIMEOUT = 10.0


@click.command(short_help="Tools, database, what is stuck, why, and what to do.")
@click.argument("specs", required=False)
@source_options
@variables_option
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.pass_obj
def doctor(session: Session, /, specs: str | None, output: str, **asked: Any) -> int:
    """Look at everything that may be wrong, and say what to do about it.

    With SPECS, or where the settings name them, also at what their resources need: the nodes of pairs, for example.

    \b
    Example:
      reconciler doctor
      reconciler doctor specs/
    """
    from reconciler.cli.render import plain  # noqa: PLC0415 - only when called

    source = session.source(specs, asked)
    found = [*_findings(session), *doctor_hosts.of_resources(session, source, asked)]
    findings = list(dict.fromkeys(found))  # the daemon may have met the same problems
    if output == "json":
        click.echo(json.dumps([{name: getattr(one, name) for name in one.__slots__} for one in findings], indent=2))
    else:
        for one in findings:
            sign, color = _SIGNS[one.level]
            click.secho(plain(f"{sign} {one.subject}: {one.message}"), fg=color)
            if one.remedy:
                click.echo(plain(f"    {one.remedy}"))
    return 1 if any(one.level == "error" for one in findings) else 0


def _findings(session: Session) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "reconciler", f"{__version__} on Python {python}, home {session.settings.home}")
    yield from _tools()
    yield from _control_planes(session)
    yield from _disk(Path(session.settings.home))
    yield from doctor_hosts.ssh(Path(session.settings.home))
    try:
        with session.database() as database:
            yield from _integrity(database)
            yield from _daemon(database)
            yield from _stuck(database)
    except ReconcilerError as error:
        yield Finding("error", "database", error.message, "restore the file from a copy, or look at its permissions")


def _tools() -> Iterator[Finding]:
    """Programs that some kind or provider needs; a missing one is a note, because maybe nobody needs it here."""
    for name, arguments in _TOOLS:
        path = shutil.which(name)
        if path is None:
            needed = _NEEDED_FOR.get(name, "a kind that you use")
            yield Finding("note", name, "not on PATH", f"install {name} if you need it for {needed}")
            continue
        try:
            done = subprocess.run(
                [path, *arguments], capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            yield Finding("warning", name, f"does not answer: {error}")
            continue
        said = (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]
        if done.returncode:
            remedy = "start the docker engine, or join its group" if name == "docker" else f"run `{name}` by hand"
            yield Finding("warning", name, f"is there, but fails: {said}", remedy)
        else:
            yield Finding("ok", name, f"engine {said}" if name == "docker" else said)


def _disk(home: Path) -> Iterator[Finding]:
    """Room in the home; nodes in containers begin to evict pods where a tenth is left."""
    usage = shutil.disk_usage(home if home.exists() else home.parent)
    used = 100 - 100 * usage.free // max(usage.total, 1)
    message = f"{usage.free // 1_000_000} MB left, {used} % used"
    if used >= _FULL:
        yield Finding("warning", "disk", message, "make room: clusters evict pods from 90 % on")
    else:
        yield Finding("ok", "disk", message)


def _control_planes(session: Session) -> Iterator[Finding]:
    """The programs of provider envtest, which lie in a folder of their own as a rule."""
    from reconciler.kinds.cluster.envtest import binaries  # noqa: PLC0415 - only when called

    try:
        found = binaries.find(session.settings.kinds.get("Cluster", {}), os.environ)
    except ReconcilerError as error:
        message, _, remedy = error.message.partition("\n")
        yield Finding("note", "envtest", message, f"if you need it for clusters of envtest, {remedy}")
        return
    yield Finding("ok", "envtest", f"{', '.join(found.values())}; its clusters run no workloads")
    if binaries.CONTROLLERS not in found:
        message = f"{binaries.CONTROLLERS} is not beside {found[binaries.API_SERVER]}, so no controller runs"
        yield Finding("note", "envtest", message, "put the one of the same release there if you need it")


def _integrity(database: Database) -> Iterator[Finding]:
    from sqlalchemy import text  # noqa: PLC0415 - only when called

    if database.engine.dialect.name != "sqlite":
        yield Finding("ok", "database", f"{database.path} answers")
        return
    with database.read() as connection:
        broken = [row[0] for row in connection.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
        orphans = len(connection.execute(text("PRAGMA foreign_key_check")).all())
    if broken or orphans:
        message = f"{database.path}: {'; '.join(broken[:3])} {orphans} rows without their parent"
        yield Finding("error", "database", message, "stop everything and restore the file from a copy")
    else:
        yield Finding("ok", "database", f"{database.path} is whole")


def _daemon(database: Database) -> Iterator[Finding]:
    from reconciler.cli.render import ago  # noqa: PLC0415 - only when called
    from reconciler.store.views import daemon_view, list_problems, list_sources  # noqa: PLC0415

    with database.read() as connection:
        daemon = daemon_view(connection)
        problems = list_problems(connection)
        sources = list_sources(connection)
    if daemon.state == "alive":
        yield Finding("ok", "daemon", f"{daemon.holder}, since {ago(daemon.since)}")
    else:
        remedy = "start it: reconciler daemon specs/" if daemon.state == "gone" else ""
        yield Finding("warning" if daemon.state == "gone" else "note", "daemon", f"none runs ({daemon.state})", remedy)
    for source in sources:
        if not source.readable:
            yield Finding("error", source.owner, f"cannot be read: {source.message}", "nothing is deleted meanwhile")
    for problem in problems:
        yield Finding(
            "error", f"{problem.path}:{problem.line}:{problem.column}", problem.message, "repair the document"
        )


def _stuck(database: Database) -> Iterator[Finding]:
    from reconciler.store.views import list_resources, resource_detail, running_steps  # noqa: PLC0415 - only when called

    with database.read() as connection:
        for step in running_steps(connection):
            if not step.alive:
                message = f"step {step.name} was open when its process ended ({step.holder})"
                yield Finding("warning", str(step.ref), message, "the next apply, or the daemon, looks and goes on")
        for one in list_resources(connection):
            if one.ready == "True" and not one.suspended and not one.vanished:
                continue
            detail = resource_detail(connection, one.ref)
            if detail is None:
                continue
            if detail.suspension is not None:
                if detail.suspension.overdue:
                    message = f"suspended longer than planned: {detail.suspension.reason}"
                    yield Finding("warning", str(one.ref), message, f"reconciler resume {one.ref}")
            elif detail.pending is not None:
                yield Finding("warning", str(one.ref), str(detail.pending["why"]), f"reconciler approve {one.ref}")
            elif one.vanished:
                message = f"no longer in the specs: {detail.vanished_why}"
                yield Finding("note", str(one.ref), message, f"reconciler delete {one.ref}, or write it again")
            else:
                yield Finding("warning", str(one.ref), f"{one.reason}: {one.message}", f"reconciler describe {one.ref}")
