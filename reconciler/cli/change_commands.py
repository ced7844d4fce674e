"""create, delete, approve, suspend, resume, reconcile: commands that change what is wanted, or ask for a look."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.apply_commands import Application
from reconciler.cli.completing import complete_ref
from reconciler.cli.plan_commands import Ask, look
from reconciler.cli.render import plain
from reconciler.cli.session import NotConfirmed, Session
from reconciler.errors import UsageError, WaitingError
from reconciler.model.duration import parse_duration
from reconciler.model.resource import API_VERSION, ResourceRef

if TYPE_CHECKING:
    from reconciler.engine.runtime import Runtime

POLL = 0.1


@click.command(short_help="Write desired state into the store, without a file.")
@click.argument("kind")
@click.argument("name")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of spec, e.g. ports.httpPort=18090."
)
@click.option("--provider", metavar="NAME", help="The same as --set provider=NAME.")
@click.option("-l", "--label", "labels", multiple=True, metavar="LABEL=VALUE", help="A label.")
@click.option("--protect", is_flag=True, help="Never delete it without lifting this first.")
@click.option("--apply/--no-apply", "now", default=True, help="Carry it out now, or leave that to the daemon.")
@click.pass_obj
def create(session: Session, /, kind: str, name: str, **given: Any) -> int:
    """Make a resource of KIND called NAME, owned by the store.

    \b
    Example:
      reconciler create cluster dev --set agents=2
    """
    from reconciler.engine import desired  # noqa: PLC0415 - sqlalchemy, only when called

    with session.engine("create") as (runtime, reconciler):
        document = _document(runtime, kind, name, given)
        ref = ResourceRef(document["kind"], name)
        draft = desired.drafted(runtime, document)
        with runtime.database.write() as connection:
            desired.create(runtime, connection, draft, _actor())
        click.echo(f"{ref}: desired state written")
        if not given["now"]:
            return 0
        workspace = session.workspace(runtime, None)
        looked = look(reconciler, workspace, Ask(limit=[str(ref)]))
        return Application(session, runtime, reconciler, workspace).run(looked, None, _APPLY)


@click.command(short_help="Delete a resource that the store owns, or prune one that vanished.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--apply/--no-apply", "now", default=True, help="Carry it out now, or leave that to the daemon.")
@click.pass_obj
def delete(session: Session, ref: str, yes: bool, now: bool) -> int:
    """Delete what the API or `create` made, or what no spec names any more.

    \b
    Example:
      reconciler delete Cluster/dev
    """
    from reconciler.engine import desired  # noqa: PLC0415 - sqlalchemy, only when called

    key = ResourceRef.parse(ref)
    with session.engine("delete") as (runtime, reconciler):
        with runtime.database.read() as connection:
            is_wanted = desired.check_deletable(runtime, connection, key)
        if not yes:
            _ask(f"Delete {key}?")
        if is_wanted:
            with runtime.database.write() as connection:
                desired.withdraw(runtime, connection, key, _actor())
        if not now:
            click.echo(f"{key}: to be deleted")
            return 0
        workspace = session.workspace(runtime, None)
        named = Ask(limit=[str(key)], prune=True, max_deletes=sys.maxsize)  # what else waits is not asked for
        looked = look(reconciler, workspace, named)
        return Application(session, runtime, reconciler, workspace).run(looked, None, _APPLY)


@click.command(short_help="Allow the change that a resource waits for, once.")
@click.argument("what", metavar="KIND/NAME|PLANFILE")
@click.pass_obj
def approve(session: Session, what: str) -> int:
    """Allow exactly the change that was planned; if anything it was computed from moves, it has to be approved again.

    \b
    Example:
      reconciler approve Cluster/prod
    """
    from reconciler.engine import requests  # noqa: PLC0415 - sqlalchemy, only when called

    with session.database() as database, database.write() as connection:
        if what.endswith(".json"):
            allowed = _of_plan_file(Path(what))
        else:
            key = ResourceRef.parse(what)
            allowed = [(key, requests.pending_change(connection, key))]
        for ref, fingerprint in allowed:
            requests.approve(database, connection, ref, fingerprint, _actor())
    for ref, _ in allowed:
        click.echo(f"{ref}: approved")
    return 0


@click.command(short_help="Leave a resource alone for a while.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("--reason", required=True, help="Why, for whoever finds it.")
@click.option(
    "--until", metavar="TIME|DURATION", help="When it should end: 2h, or 2030-01-31T08:00. It warns from then on."
)
@click.pass_obj
def suspend(session: Session, ref: str, reason: str, until: str | None) -> int:
    """Look at nothing and change nothing of a resource until it is resumed.

    \b
    Example:
      reconciler suspend Cluster/dev --reason "debugging the ingress" --until 2h
    """
    from reconciler.engine import requests  # noqa: PLC0415 - sqlalchemy, only when called

    key = ResourceRef.parse(ref)
    with session.database() as database, database.write() as connection:
        end = requests.moment(until, database.now(connection)) if until else None
        requests.suspend(database, connection, key, _actor(), (reason, end))
    click.echo(f"{key}: suspended")
    return 0


@click.command(short_help="End a suspension.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.pass_obj
def resume(session: Session, ref: str) -> int:
    """Look after a resource again.

    \b
    Example:
      reconciler resume Cluster/dev
    """
    from reconciler.engine import requests  # noqa: PLC0415 - sqlalchemy, only when called

    key = ResourceRef.parse(ref)
    with session.database() as database, database.write() as connection:
        requests.resume(database, connection, key, _actor())
    click.echo(f"{key}: resumed")
    return 0


@click.command(short_help="Look at a resource now and wait until that was done.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("--timeout", default="2m", metavar="DURATION", help="How long to wait.")
@click.pass_obj
def reconcile(session: Session, ref: str, timeout: str) -> int:
    """Ask the daemon to look at a resource now, and wait until it did.

    \b
    Example:
      reconciler reconcile Cluster/dev
    """
    from reconciler.engine import requests  # noqa: PLC0415 - sqlalchemy, only when called
    from reconciler.store import statuses  # noqa: PLC0415
    from reconciler.store.views import daemon_view  # noqa: PLC0415

    key = ResourceRef.parse(ref)
    until = time.monotonic() + _seconds(timeout)
    with session.database() as database:
        with database.write() as connection:
            token = requests.look(connection, key)
            daemon = daemon_view(connection)
            if daemon.state != "alive":  # nothing of this transaction is stored then
                raise UsageError("NoDaemon", f"no daemon runs ({daemon.state}): use `reconciler apply --limit {key}`")
        while time.monotonic() < until:
            with database.read() as connection:
                status = statuses.load(connection, [key]).get(key)
            if status is None:
                click.echo(f"{key}: gone")
                return 0
            if status.handled_at == token:
                ready = status.condition("Ready")
                click.echo(plain(f"{key}: {ready.reason}: {ready.message}") if ready else f"{key}: looked at")
                return 0 if ready is not None and ready.status == "True" else 1
            time.sleep(POLL)
    raise WaitingError("NotHandled", f"{key} was not looked at within {timeout}")


_APPLY = {"yes": True, "check": False, "output": "text", "show_diff": False, "forks": None}


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("NotConfirmed", "nobody can be asked here: use --yes")
    if not click.confirm(question, default=False):
        raise NotConfirmed


def _document(runtime: Runtime, kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The document that the options describe."""
    import yaml  # noqa: PLC0415 - only for values

    from reconciler.transports.yaml_text import load_yaml  # noqa: PLC0415

    known = {entry.lower(): entry for entry in runtime.kinds}
    if kind.lower() not in known:
        raise UsageError("UnknownKind", f"no kind {kind!r}; there are: {', '.join(sorted(runtime.kinds))}")
    spec: dict[str, Any] = {}
    pairs = [*given["settings"], *([f"provider={given['provider']}"] if given["provider"] else [])]
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals:
            raise UsageError("BadField", f"--set {pair}: write field=value")
        place = spec
        *parents, last = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError("BadField", f"--set {pair}: {parent} has a value of its own")
        try:
            place[last] = load_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError("BadField", f"--set {pair}: {error}") from error
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": known[kind.lower()], "metadata": {"name": name}}
    labels = dict(pair.partition("=")[::2] for pair in given["labels"])
    if labels:
        document["metadata"]["labels"] = labels
    if given["protect"]:
        document["lifecycle"] = {"deletion": "protect"}
    return {**document, "spec": spec}


def _of_plan_file(path: Path) -> Sequence[tuple[ResourceRef, str]]:
    from reconciler.engine.plan_format import read_file  # noqa: PLC0415 - only for a plan file
    from reconciler.engine.status import PENDING_REASONS  # noqa: PLC0415

    waiting = [
        (ResourceRef.parse(change["ref"]), change["fingerprint"])
        for change in read_file(path)["changes"]
        if change["obstacle"] and change["obstacle"]["reason"] in PENDING_REASONS
    ]
    if not waiting:
        raise UsageError("NothingPending", f"nothing in {path} waits for an approval")
    return waiting


def _actor() -> str:
    from reconciler.store.owners import actor_name  # noqa: PLC0415 - only when called

    return actor_name()


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError("BadDuration", str(error)) from error
