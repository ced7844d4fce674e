"""import: take in what an earlier system knew. Also what `daemon --bootstrap-csv` does before the page answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.session import Session
from reconciler.errors import SpecError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.engine.runtime import Runtime
    from reconciler.kinds.cluster.importing import Taken
    from reconciler.loading.csv_clusters import CsvCluster
    from reconciler.store.kind_records import KindRecords

LEASE = "import csv"


@click.group("import", short_help="Take in what an earlier system knew.")
def import_() -> None:
    """Take in what an earlier system knew of its clusters.

    \b
    Example:
      reconciler import csv environments.csv
    """


@import_.command("csv")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be changed, and change nothing.")
@click.pass_obj
def csv(session: Session, file: Path, dry_run: bool) -> int:
    """Write every cluster of FILE into the store, and bring those up to date that are there. FILE is not read again.

    Each row wants its cluster from now on, unless a document names it. See docs/importing.md for the columns.

    \b
    Example:
      reconciler import csv environments.csv --dry-run
    """
    with session.engine("import") as (runtime, _):
        taken = take_in_csv(runtime, file, dry_run=dry_run)
    for line in _told(taken):
        click.echo(line)
    news = sum(one.is_new for one in taken)
    moved = sum(bool(one.changed) and not one.is_new for one in taken)
    click.echo(
        f"{news} new, {moved} changed, {len(taken) - news - moved} unchanged" + (" (dry run)" if dry_run else "")
    )
    return 0


def bootstrap(runtime: Runtime, file: Path) -> bool:
    """Import a file into a store in which nothing ever happened, and only into such a one. True when it was done."""
    with runtime.database.read() as connection:
        if not _is_unused(runtime, connection):
            return False
    take_in_csv(runtime, file)
    return True


def take_in_csv(runtime: Runtime, file: Path, *, dry_run: bool = False) -> list[Taken]:
    """What became of each row of a file: all of it in one transaction, or nothing where anything is wrong in it.

    Raises SpecError with `file:line: …` for each mistake, and LeaseHeldError while somebody else imports.
    """
    from reconciler.engine.recorded import store_wishes  # noqa: PLC0415 - sqlalchemy, only when called
    from reconciler.kinds.cluster import importing  # noqa: PLC0415
    from reconciler.loading.csv_clusters import read_csv  # noqa: PLC0415
    from reconciler.store import leases  # noqa: PLC0415

    rows = read_csv(file)
    if dry_run:
        with runtime.database.read() as connection:
            return _compared(runtime, connection, file, rows)
    lease = leases.acquire(runtime.database, LEASE, runtime.owner, runtime.settings.lease_ttl)
    try:
        with lease.fenced() as connection:
            taken = _compared(runtime, connection, file, rows)
            importing.write(_records(runtime, connection), taken, runtime.database.now(connection))
            _note(runtime, connection, file, taken)
            store_wishes(runtime, connection)
    finally:
        lease.release()
    return taken


def _compared(runtime: Runtime, connection: Connection, file: Path, rows: Sequence[CsvCluster]) -> list[Taken]:
    from reconciler.kinds.cluster import importing  # noqa: PLC0415 - sqlalchemy, only when called

    try:
        return importing.compare(_records(runtime, connection), [(one.name, one.values) for one in rows])
    except SpecError as error:
        lines = {one.name: one.line for one in rows}
        placed = (f"{file}:{lines[text.partition(':')[0]]}: {text}" for text in error.message.splitlines())
        raise SpecError(error.reason, "\n".join(placed)) from error


def _records(runtime: Runtime, connection: Connection) -> KindRecords:
    from reconciler.store.kind_records import KindRecords  # noqa: PLC0415 - sqlalchemy, only when called

    return KindRecords(runtime.database, runtime.tables["Cluster"], None, connection)


def _note(runtime: Runtime, connection: Connection, file: Path, taken: Sequence[Taken]) -> None:
    """The import as a run, and an event for each cluster that it touched."""
    from reconciler.model.resource import ResourceRef  # noqa: PLC0415 - only when called
    from reconciler.store import events, journal  # noqa: PLC0415 - sqlalchemy

    touched = [one for one in taken if one.changed]
    start = journal.RunStart(
        runtime.owner, "import", summary=f"{len(touched)} of {len(taken)} rows of {file.name}"[:255]
    )
    run = journal.start_run(runtime.database, connection, start)
    journal.end_run(runtime.database, connection, run, "succeeded")
    now, actor = runtime.database.now(connection), runtime.owner.holder
    told = [
        events.Event("normal", "Imported", "; ".join(_changes(one)), ResourceRef("Cluster", one.name), actor, run)
        for one in touched
    ]
    events.add(connection, now, told)


def _is_unused(runtime: Runtime, connection: Connection) -> bool:
    """Whether nothing was ever recorded: what was deleted since must not come back with a restart."""
    from sqlalchemy import select  # noqa: PLC0415 - only when called

    from reconciler.store import tables  # noqa: PLC0415

    used = (tables.runs, tables.resources, runtime.tables["Cluster"]["clusters"])
    return all(connection.execute(select(table).limit(1)).first() is None for table in used)


def _told(taken: Sequence[Taken]) -> list[str]:
    from reconciler.cli.render import plain  # noqa: PLC0415 - --help renders nothing

    return [plain(f"Cluster/{one.name}: {'; '.join(_changes(one))}") for one in taken if one.changed]


def _changes(one: Taken) -> list[str]:
    if one.is_new:
        return ["new: " + ", ".join(f"{name}={value}" for name, (_, value) in one.changed.items() if value is not None)]
    return [f"{name}: {_shown(before)} -> {_shown(after)}" for name, (before, after) in one.changed.items()]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
