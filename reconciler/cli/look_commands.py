"""get, describe, events, history, logs: what the store knows. They look at nothing else and change nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler import __version__
from reconciler.cli.completing import complete_kind_or_ref, complete_ref
from reconciler.cli.render import ago, diff_lines, plain, shown, table
from reconciler.cli.selection import parse_labels
from reconciler.cli.session import Session
from reconciler.errors import UsageError
from reconciler.model.duration import format_duration
from reconciler.model.plan import FieldDiff
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.store.database import Database
    from reconciler.store.views import ChangeView, ResourceDetail, ResourceView

Facts = Mapping[ResourceRef, Mapping[str, Any]]
"""What records say of resources, by reference: `engine.recorded.facts`."""
_OUTPUTS = click.Choice(["table", "wide", "json", "yaml", "name"])
WATCH_INTERVAL = 1.0


@click.command(short_help="List resources and their state.")
@click.argument("what", required=False, metavar="[KIND[/NAME]]", shell_complete=complete_kind_or_ref)
@click.option(
    "-l", "--selector", "labels", multiple=True, metavar="LABEL=VALUE", help="Only resources with this label."
)
@click.option("-o", "output", type=_OUTPUTS, default="table", help="How to print them.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and print what changes.")
@click.pass_obj
def get(session: Session, what: str | None, labels: Sequence[str], output: str, watch: bool) -> int:
    """List resources, or one kind, or one resource.

    \b
    Example:
      reconciler get
      reconciler get Cluster/dev -o yaml
    """
    kind, _, name = (what or "").partition("/")
    wanted = parse_labels(labels)
    with session.database() as database:
        recorded: dict[ResourceRef, Mapping[str, Any]] = {}

        def read() -> list[ResourceView]:
            from reconciler.store.views import list_resources  # noqa: PLC0415 - sqlalchemy, only when called

            with database.read() as connection:
                if output == "wide":
                    recorded.update(_facts(session, database, connection))
                return list_resources(connection, kind=kind or None, name=name or None, labels=wanted or None)

        if watch:
            return _watch(read, output, recorded)
        found = read()
        if not found and (what or labels):
            raise UsageError("NothingSelected", f"nothing matches {what or ''} {' '.join(labels)}".rstrip())
        if not found:
            click.echo("Nothing yet. Write a spec, then: reconciler plan specs/", err=True)
        single = bool(name) and "*" not in name
        for line in _resource_lines(found, output, recorded, single=single):
            click.echo(line)
    return 0


@click.command(short_help="Everything that is known of one resource.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.pass_obj
def describe(session: Session, ref: str, output: str) -> int:
    """Conditions, differences, what it waits for, and its last changes.

    \b
    Example:
      reconciler describe Cluster/dev
    """
    from reconciler.store.views import history as changes_of  # noqa: PLC0415 - sqlalchemy, only when called
    from reconciler.store.views import resource_detail  # noqa: PLC0415

    key = ResourceRef.parse(ref)
    with session.database() as database, database.read() as connection:
        detail = resource_detail(connection, key)
        if detail is None:
            raise UsageError("NoSuchResource", f"there is no {key}")
        past = changes_of(connection, key, 5)
        facts = _facts(session, database, connection).get(key, {})
    if output == "json":
        history = {"history": [change.to_json() for change in past]}
        click.echo(json.dumps({**detail.to_json(), "recorded": facts, **history}, indent=2))
        return 0
    for line in _described(detail, past, facts):
        click.echo(line)
    return 0


@click.command(short_help="What happened, oldest first.")
@click.argument("ref", required=False, metavar="[KIND/NAME]", shell_complete=complete_ref)
@click.option("-n", "limit", type=click.IntRange(1, 10_000), default=50, help="How many.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="json: one object a line.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and print what happens.")
@click.pass_obj
def events(session: Session, ref: str | None, limit: int, output: str, watch: bool) -> int:
    """What happened, to one resource or to all.

    \b
    Example:
      reconciler events Cluster/dev -w
    """
    from reconciler.store import events as store  # noqa: PLC0415 - sqlalchemy, only when called

    key = ResourceRef.parse(ref) if ref else None
    if output == "json":
        click.echo(json.dumps({"type": "version", "version": __version__, "format": "reconciler.dev/events/v1"}))
    after, most = 0, limit
    with session.database() as database:
        while True:
            with database.read() as connection:
                found = store.listed(connection, ref=key, after=after, limit=most)
            for event in found:
                click.echo(_event_json(event) if output == "json" else _event(event))
                after = event.id
            if not watch:
                return 0
            most = 10_000  # of what happens from now on, nothing is left out
            time.sleep(WATCH_INTERVAL)


@click.command(short_help="The changes made to a resource, newest first.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("-n", "limit", type=click.IntRange(1, 1000), default=10, help="How many.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print them.")
@click.pass_obj
def history(session: Session, ref: str, limit: int, output: str) -> int:
    """Who changed it, when, why, and how that ended.

    \b
    Example:
      reconciler history Cluster/dev
    """
    found = _history(session, ref, limit)
    if output == "json":
        click.echo(json.dumps([change.to_json() for change in found], indent=2))
        return 0
    for change in found:
        for line in _change_lines(change):
            click.echo(line)
    return 0


@click.command(short_help="The captured output of every step.")
@click.argument("ref", metavar="KIND/NAME", shell_complete=complete_ref)
@click.option("-n", "limit", type=click.IntRange(1, 100), default=1, help="Of how many changes, newest last.")
@click.pass_obj
def logs(session: Session, ref: str, limit: int) -> int:
    """What the steps of the last change printed.

    \b
    Example:
      reconciler logs Cluster/dev
    """
    from reconciler.store.views import step_log  # noqa: PLC0415 - sqlalchemy, only when called

    changes = list(reversed(_history(session, ref, limit)))
    with session.database() as database, database.read() as connection:
        for change in changes:
            click.secho(f"== run {change.run}: {change.action} {ref} ({_moment(change.started_at)})", bold=True)
            for step in change.steps:
                message = plain(step.message)
                click.echo(f"-- {step.name}: {step.outcome} ({format_duration(step.duration)}) {message}".rstrip())
                for chunk in step_log(connection, step.id):
                    click.echo("\n".join(plain(line) for line in chunk.text.splitlines()))
    return 0


def _history(session: Session, ref: str, limit: int) -> list[ChangeView]:
    from reconciler.store.views import history as changes_of  # noqa: PLC0415 - sqlalchemy, only when called

    key = ResourceRef.parse(ref)
    with session.database() as database, database.read() as connection:
        found = changes_of(connection, key, limit)
    if not found:
        raise UsageError("NoHistory", f"nothing was ever changed for {key}")
    return found


def _watch(read: Callable[[], list[ResourceView]], output: str, recorded: Facts) -> int:
    """Print what differs from the last look, until interrupted."""
    seen: dict[ResourceRef, tuple[object, ...]] = {}
    if output == "json":
        click.echo(json.dumps({"type": "version", "version": __version__, "format": "reconciler.dev/resources/v1"}))
    first = True
    while True:
        found = read()
        moved = [one for one in found if seen.get(one.ref) != _glance(one)]
        gone = seen.keys() - {one.ref for one in found}
        seen = {one.ref: _glance(one) for one in found}
        if output == "json":
            for one in moved:
                click.echo(json.dumps({"type": "resource", "resource": one.to_json()}))
            for ref in sorted(gone):
                click.echo(json.dumps({"type": "gone", "ref": str(ref)}))
        else:
            lines = list(_resource_lines(moved, output, recorded, single=False)) if moved else []
            for line in lines if first or output in ("name", "yaml") else lines[1:]:
                click.echo(line)
            for ref in sorted(gone):
                click.echo(f"{ref}   gone")
        first = first and not moved
        time.sleep(WATCH_INTERVAL)


def _glance(one: ResourceView) -> tuple[object, ...]:
    return (one.standing, one.ready, one.reason, one.message, one.generation)


def _resource_lines(found: Sequence[ResourceView], output: str, recorded: Facts, *, single: bool) -> Iterator[str]:
    if output == "name":
        yield from (str(one.ref) for one in found)
    elif output in ("json", "yaml"):
        documents = [one.to_json() for one in found]
        yield _document(documents[0] if single and documents else {"items": documents}, output)
    else:
        now = time.time()
        header = ("RESOURCE", "READY", "REASON", "GEN", "CHECKED", "AGE")
        if output == "wide":
            facts = ("RECORDED",) if recorded else ()
            yield from table([_wide_row(one, now, recorded) for one in found], (*header, *facts, "PLACE", "MESSAGE"))
        else:
            yield from table([_row(one, now) for one in found], header)


def _row(one: ResourceView, now: float) -> tuple[str, ...]:
    reason = "Suspended" if one.suspended else ("NotInSpecs" if one.vanished else one.reason or "-")
    return (str(one.ref), one.ready, reason, str(one.generation), ago(one.checked_at, now), ago(one.created_at, now))


def _wide_row(one: ResourceView, now: float, recorded: Facts) -> tuple[str, ...]:
    facts = ",".join(f"{name}={shown(value)}" for name, value in recorded.get(one.ref, {}).items()) or "-"
    return (*_row(one, now), *((plain(facts),) if recorded else ()), plain(one.place), shown(one.message))


def _facts(session: Session, database: Database, connection: Connection) -> Facts:
    """What the kinds' records say of each resource."""
    from reconciler.engine.recorded import facts  # noqa: PLC0415 - the engine, only when called
    from reconciler.engine.wiring import KindKeys  # noqa: PLC0415
    from reconciler.kinds import discover  # noqa: PLC0415

    kinds = discover(session.settings.plugins)
    return facts(kinds, KindKeys(kinds), database, connection)


def _document(value: Any, output: str) -> str:
    if output == "json":
        return json.dumps(value, indent=2)
    import yaml  # noqa: PLC0415 - only for -o yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip()


def _described(detail: ResourceDetail, past: Sequence[ChangeView], facts: Mapping[str, Any]) -> Iterator[str]:
    one = detail.resource
    yield click.style(str(one.ref), bold=True)
    yield f"  place:       {plain(one.place)}" + (f"  ({one.revision[:12]})" if one.revision else "")
    yield f"  generation:  {one.generation} (observed {one.observed_generation})"
    yield f"  labels:      {', '.join(f'{name}={value}' for name, value in one.labels.items()) or '-'}"
    yield f"  needs:       {', '.join(str(ref) for ref in one.dependencies) or '-'}"
    yield f"  needed by:   {', '.join(str(ref) for ref in detail.needed_by) or '-'}"
    if detail.protected:
        yield "  protected:   yes"
    if detail.suspension is not None:
        until = f" until {_moment(detail.suspension.until)}" if detail.suspension.until else ""
        late = click.style(" (overdue)", fg="red") if detail.suspension.overdue else ""
        yield f"  suspended:   by {detail.suspension.by}{until}: {shown(detail.suspension.reason)}{late}"
    if detail.pending is not None:
        why = plain(str(detail.pending["why"]))
        yield click.style(f"  waits for:   reconciler approve {one.ref}", fg="magenta") + f"  ({why})"
    if detail.vanished_at:
        yield f"  vanished:    {plain(detail.vanished_why)}"
    yield "conditions:"
    rows = [
        (entry.type, entry.status, entry.reason, ago(entry.last_transition), shown(entry.message))
        for entry in detail.conditions
    ]
    yield from (f"  {line}" for line in table(rows, ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE")))
    if detail.drift:
        yield "differs:"
        yield from diff_lines(FieldDiff(entry.path, entry.before, entry.after, entry.secret) for entry in detail.drift)
    yield "spec:"
    yield from (f"  {line}" for line in _document(detail.spec, "yaml").splitlines())
    if facts:
        yield "recorded:"
        yield from (f"  {name}: {shown(value)}" for name, value in facts.items())
    if past:
        yield "last changes:"
        yield from (f"  {line}" for change in past for line in _change_lines(change))


def _change_lines(change: ChangeView) -> Iterator[str]:
    took = format_duration(change.duration)
    verdict = change.verdict or "running"
    yield f"{_moment(change.started_at)}  run {change.run}  {change.action}  {verdict}  ({took})  by {change.actor}"
    yield f"    why: {plain(change.why)}"
    if change.revision:
        by = f" by {plain(change.author)}: {plain(change.subject)}" if change.author else ""
        yield f"    commit: {change.revision[:12]}{by}"
    if change.message:
        yield f"    {shown(change.message)}"
    for step in change.steps:
        message = f": {shown(step.message)}" if step.message else ""
        yield f"    {step.outcome:<12} {step.name} ({format_duration(step.duration)}){message}"


def _event(event: Any) -> str:
    colors = {"alarm": "red", "warning": "yellow"}
    text = f"{_moment(event.at)}  {event.type:<7}  {event.ref or '-'}  {event.reason}: {shown(event.message)}"
    return click.style(text, fg=colors.get(event.type))


def _event_json(event: Any) -> str:
    return json.dumps({**event.to_json(), "type": "event", "severity": event.type})


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
