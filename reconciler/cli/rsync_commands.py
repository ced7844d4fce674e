"""rsync: the rsync between the nodes of a pair, looked at and operated by hand. The kind's `operating` does it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from reconciler.cli import exit_codes
from reconciler.cli.completing import complete_name_of
from reconciler.cli.render import ago, plain, table
from reconciler.cli.session import LEASE_WAIT, NotConfirmed, Session
from reconciler.cli.sources import source_options
from reconciler.cli.variables import variables_option
from reconciler.errors import BlockedError, LeaseHeldError, TerminalError, UsageError
from reconciler.model.duration import format_duration
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.engine.runtime import Runtime
    from reconciler.engine.workspace import Workspace
    from reconciler.kinds.node_pair.operating import Operating
    from reconciler.kinds.node_pair.syncing import Preview
    from reconciler.model.resource import Resource
    from reconciler.store.leases import Lease
    from reconciler.transports.git_place import GitPlace

KIND = "NodePair"
_AGAIN_AFTER = 0.1
Json = dict[str, Any]


@click.group(short_help="The rsync between the two nodes of a pair.")
def rsync() -> None:
    """The rsync of a pair: how it is, and what a person does with it. An upgrade pauses and resumes it by itself.

    \b
    Example:
      reconciler rsync status shop
      reconciler rsync pause shop
      reconciler rsync resolve shop --keep master
    """


def _operating(function: Callable[..., int]) -> Callable[..., int]:
    """What every command has that reaches the nodes: the pair, where its document is, and how to print."""
    for decorate in (
        click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it."),
        source_options,
        variables_option,
        click.argument("specs", required=False),
        click.argument("pair", shell_complete=complete_name_of(KIND)),
    ):
        function = decorate(function)
    return click.pass_obj(function)


@rsync.command(short_help="How rsync is on both nodes, asked now.")
@_operating
def status(session: Session, /, pair: str, output: str, **asked: Any) -> int:
    """Ask both nodes, and show what is recorded beside: pauses, the last synchronization, what waits for a person.

    Changes nothing. Ends with 6 when a node could not be asked. SPECS: where the pair's document is, if it is not where
    the settings or the store say.

    \b
    Example:
      reconciler rsync status shop
    """
    with _pair(session, "rsync status", pair, asked) as operated:
        told = operated(None).status()
    _print(told, output, _status_lines)
    is_unknown = any((node["rsync"] or {}).get("status") == "UNKNOWN" for node in told["nodes"].values())
    return exit_codes.UNKNOWN if is_unknown else exit_codes.OK


@rsync.command(short_help="Pause it by hand, until it is resumed by hand.")
@_operating
def pause(session: Session, /, pair: str, output: str, **asked: Any) -> int:
    """Stop rsync on both nodes and keep it from starting, also by timers, after a reboot, and after an upgrade.

    \b
    Example:
      reconciler rsync pause shop
    """
    with _pair(session, "rsync pause", pair, asked) as operated, operated.leased() as lease:
        told = operated(lease).pause()
    _print(told, output, _status_lines)
    return exit_codes.OK


@rsync.command(short_help="Let it run again.")
@_operating
def resume(session: Session, /, pair: str, output: str, **asked: Any) -> int:
    """Take back a pause made by hand, and start rsync. Refused while an upgrade has rsync in hand.

    \b
    Example:
      reconciler rsync resume shop
    """
    with _pair(session, "rsync resume", pair, asked) as operated, operated.leased() as lease:
        told = operated(lease).resume()
    _print(told, output, _status_lines)
    return exit_codes.OK


@rsync.command(short_help="Synchronize once, now.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_operating
def sync(session: Session, /, pair: str, output: str, yes: bool, **asked: Any) -> int:
    """Show what one synchronization from the master to the backup would do, ask, and do it. Both are compared then.
    Where both sides were changed, --yes is not enough.

    \b
    Example:
      reconciler rsync sync shop
    """
    with _pair(session, "rsync sync", pair, asked) as operated, operated.leased() as lease:
        pair_now = operated(lease)
        lost, would = pair_now.check_synchronizes(), pair_now.preview()
        for line in _preview_lines(would, lost):
            click.echo(plain(line), err=output == "json")
        if would.error:
            raise TerminalError("NotSynchronized", would.error)
        if lost and yes:
            raise BlockedError(
                "ConfigurationConflict", f"{lost}; without --yes you are asked whether the backup's is to be lost"
            )
        if would.files and not yes:
            _ask("Synchronize now?")
        told = pair_now.synchronize()
    _print(told, output, _sync_lines)
    if told["sync"]["status"] == "PARTIAL":
        return exit_codes.PARTLY
    return exit_codes.OK if told["sync"]["status"] == "SUCCESS" and not told["different"] else exit_codes.ERROR


@rsync.command(short_help="The last synchronizations, newest first.")
@click.argument("pair", shell_complete=complete_name_of(KIND))
@click.option("-n", "limit", type=click.IntRange(1, 1000), default=10, help="How many.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.pass_obj
def history(session: Session, /, pair: str, limit: int, output: str) -> int:
    """When, from where to where, which files, how it ended and how long it took. No node is asked.

    \b
    Example:
      reconciler rsync history shop
    """
    from reconciler.engine.wiring import KindKeys  # noqa: PLC0415 - the kinds, only when called
    from reconciler.kinds import discover  # noqa: PLC0415
    from reconciler.kinds.node_pair import showing  # noqa: PLC0415
    from reconciler.store.kind_rows import KindRows  # noqa: PLC0415

    with session.database() as database:
        keys = KindKeys(discover(session.settings.plugins)).get(KIND, {})
        found = showing.history(KindRows(database, keys), pair, limit)
    if not found:
        raise UsageError("NoHistory", f"nothing was ever synchronized for {KIND}/{pair}")
    _print(found, output, _history_lines)
    return exit_codes.OK


@rsync.command(short_help="Say which side is right, where a pair waits for a person.")
@click.option("--keep", type=click.Choice(["master", "backup"]), required=True, help="The side whose files win.")
@click.option("--already-copied", is_flag=True, help="Synchronize nothing: both sides were made alike by hand.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_operating
def resolve(session: Session, /, pair: str, output: str, **asked: Any) -> int:
    """Make one side win, compare both, and let rsync run again. Refused as long as both differ.

    \b
    Example:
      reconciler rsync resolve shop --keep master
    """
    keep: Literal["master", "backup"] = asked.pop("keep")
    already_copied, yes = asked.pop("already_copied"), asked.pop("yes")
    if not yes:
        _ask(f"Let the {keep}'s configuration win?")
    with _pair(session, "rsync resolve", pair, asked) as operated, operated.leased() as lease:
        told = operated(lease).resolve(keep, already_copied=already_copied)
    _print(told, output, _resolved_lines)
    return exit_codes.OK


class _Opened:
    """The pair of a command: what `operating` needs of it, and its lease."""

    def __init__(
        self,
        runtime: Runtime,
        lease_of: Callable[[], AbstractContextManager[Lease]],
        resource: Resource,
        *,
        is_told: bool,
    ) -> None:
        self._runtime = runtime
        self._resource = resource
        self._log = _say if is_told else _nothing
        self.leased = lease_of

    def __call__(self, lease: Lease | None) -> Operating:
        """The pair under a lease; without one it can only be looked at."""
        from reconciler.engine.context import ObserveContext  # noqa: PLC0415 - the engine is loaded
        from reconciler.engine.leased_context import LeasedContext  # noqa: PLC0415
        from reconciler.kinds.node_pair.operating import Operating, Operator  # noqa: PLC0415
        from reconciler.store.owners import actor_name  # noqa: PLC0415

        runtime, timeout = self._runtime, self._runtime.settings.observe_timeout
        context = LeasedContext(runtime, KIND, lease) if lease is not None else ObserveContext(runtime, KIND, timeout)
        operator = Operator(actor_name(), _keeper(self._resource.ref, lease), self._log)
        return Operating.of(self._resource, context, operator)


@contextmanager
def _pair(session: Session, command: str, name: str, asked: Mapping[str, Any]) -> Iterator[_Opened]:
    """The document of a pair: where the command or the settings say, else the file that it was last read from."""
    from reconciler.store import leases  # noqa: PLC0415 - sqlalchemy, only when called

    ref = ResourceRef.parse(f"{KIND}/{name}")
    with session.engine(command, asked["variables"]) as (runtime, reconciler):
        where = session.source(asked["specs"], asked) or _last_file(runtime, ref)
        workspace = session.workspace(runtime, where, asked)
        ttl = runtime.settings.lease_ttl

        def acquire() -> Lease:
            until = time.monotonic() + LEASE_WAIT
            while True:
                try:
                    return leases.acquire(runtime.database, str(ref), runtime.owner, ttl)
                except LeaseHeldError:
                    if time.monotonic() >= until:
                        raise
                    time.sleep(_AGAIN_AFTER)

        def leased() -> AbstractContextManager[Lease]:
            return reconciler.keeper.holding(acquire)

        yield _Opened(runtime, leased, _resource(workspace, ref), is_told=session.verbosity > 0)


def _resource(workspace: Workspace, ref: ResourceRef) -> Resource:
    found = workspace.desired.get(ref)
    if found is None:
        raise UsageError("NoSuchResource", f"there is no {ref}; name the folder of its document as the last argument")
    return found


def _last_file(runtime: Runtime, ref: ResourceRef) -> Path | GitPlace | None:
    """The file in which the pair was written when its document was last read, if it is still there."""
    from pathlib import Path  # noqa: PLC0415 - only for who names no source

    from sqlalchemy import select  # noqa: PLC0415 - sqlalchemy is loaded by then

    from reconciler.store.tables import resources  # noqa: PLC0415

    same = (resources.c.kind == ref.kind) & (resources.c.name == ref.name)
    with runtime.database.read() as connection:
        owner = connection.execute(select(resources.c.owner).where(same)).scalar_one_or_none() or ""
    file = Path(owner.removeprefix("file:"))
    return file if owner.startswith("file:") and file.is_file() else None


def _keeper(ref: ResourceRef, lease: Lease | None) -> Callable[[Literal["normal", "alarm"], str, str], None]:
    """What keeps, as an event, what was done."""

    def keep(type_: Literal["normal", "alarm"], reason: str, message: str) -> None:
        from reconciler.store import events  # noqa: PLC0415 - sqlalchemy is loaded by then

        if lease is not None:
            with lease.fenced() as connection:
                now = lease.database.now(connection)
                events.add(connection, now, [events.Event(type_, reason, message, ref, lease.owner.holder)])
        if type_ == "alarm":
            click.secho(plain(message), fg="red", err=True)

    return keep


def _say(text: str) -> None:
    for line in text.splitlines():
        click.echo(plain(line), err=True)


def _nothing(_text: str) -> None:
    """It is only told with -v."""


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("NotConfirmed", "nobody can be asked here: use --yes")
    if not click.confirm(question, default=False, err=True):
        raise NotConfirmed


def _print(told: Any, output: str, lines: Callable[[Any], Iterator[str]]) -> None:
    if output == "json":
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for line in lines(told):
        click.echo(plain(line))


def _status_lines(told: Json) -> Iterator[str]:
    yield f"{told['pair']}: {_headline(told)}"
    if told["waitReason"]:
        yield f"  {told['waitReason']}"
    for one in told["todo"]:
        yield f"  if {one['text']}: {one['command']}"
    rows = [_node_row(role, node) for role, node in told["nodes"].items()]
    yield from table(rows, ("NODE", "ADDRESS", "RSYNC", "PAUSED", "AGE", "WHAT WAS SEEN"))
    interval = f"every {format_duration(told['interval'])}" if told["interval"] else "never by itself"
    last = told["lastSync"]
    newest = f"last {ago(last['startedAt'])} ago: {last['status']}" if last else "none is recorded"
    yield f"synchronizes {interval}; {newest}"


def _headline(told: Json) -> str:
    """The name of its state; a pause by hand is none of its states, and says more."""
    seen = [node["rsync"] or {} for node in told["nodes"].values()]
    is_paused = any(one.get("paused") and one.get("reason") == "MANUAL" for one in seen)
    return "paused by hand" if is_paused and told["state"] in ("", "RSYNC_RUNNING") else str(told["stateName"])


def _node_row(role: str, node: Json) -> Sequence[str]:
    one = node["rsync"] or {}
    paused = one.get("reason") or "-" if one.get("paused") else "-"
    return (role, node["address"], one.get("status", "-"), paused, ago(one.get("checkedAt")), one.get("detail", ""))


def _preview_lines(would: Preview, lost: str) -> Iterator[str]:
    if lost:
        yield f"CONFLICT: {lost}; what was changed on the backup would be overwritten"
    yield from (f"  {one.action:10} {one.path}" for one in would.files)
    if not would.files and not would.error:
        yield "nothing would be changed"


def _sync_lines(told: Json) -> Iterator[str]:
    yield from _history_lines([told["sync"]])
    if told["different"]:
        yield f"both nodes differ in: {', '.join(told['different'])}"
    else:
        yield "both nodes are alike"


def _history_lines(found: Sequence[Json]) -> Iterator[str]:
    for one in found:
        upgrade = f" (upgrade {one['upgradeId']})" if one["upgradeId"] is not None else ""
        took = f"{one['duration']} s" if one["duration"] is not None else "unknown time"
        counts = f"{one['filesSynced'] or 0} files, {one['filesFailed'] or 0} failed"
        yield f"{ago(one['startedAt'])} ago: {one['status']} {one['from']} -> {one['to']}, {took}, {counts}{upgrade}"
        if one["error"]:
            yield f"  {one['error']}"
        yield from (f"  {file['status']:6} {file['action']:10} {file['path']}" for file in one["files"])


def _resolved_lines(told: Json) -> Iterator[str]:
    if told["sync"] is not None:
        yield from _history_lines([told["sync"]])
    yield f"the {told['kept']}'s configuration is on both nodes; rsync runs again"
