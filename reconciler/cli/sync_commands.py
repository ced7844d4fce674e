"""sync, completion: have the source looked at now; what a shell needs to complete commands."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import exit_codes
from reconciler.cli.render import plain
from reconciler.cli.session import Session
from reconciler.cli.sources import fetch_source, source_options
from reconciler.errors import UsageError, WaitingError
from reconciler.model.duration import parse_duration

if TYPE_CHECKING:
    from reconciler.store.database import Database
    from reconciler.store.sources import SourceState

POLL = 0.1
_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Fetch and load the specs now, and wait until that was done.")
@source_options
@click.option("--timeout", default="2m", metavar="DURATION", help="How long to wait.")
@click.pass_obj
def sync(session: Session, /, timeout: str, **asked: Any) -> int:
    """Have the daemon look at its source now: fetch the branch, or read the folder.

    Where no daemon runs, the branch is fetched for the next `plan --no-fetch`, and nothing else happens.

    \b
    Example:
      reconciler sync
    """
    from reconciler.store.views import daemon_view  # noqa: PLC0415 - sqlalchemy, only when called

    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise UsageError("BadDuration", str(error)) from error
    with session.database() as database:
        with database.read() as connection:
            is_alive = daemon_view(connection).state == "alive"
        if is_alive:
            return _told(_answer(database, seconds, timeout))
    return _fetched(session, asked)


@click.command(short_help="Print what a shell needs to complete commands.")
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL: commands, options, and the resources that are known.

    \b
    Example:
      source <(reconciler completion bash)
      reconciler completion fish > ~/.config/fish/completions/reconciler.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only when called

    from reconciler.cli.main import cli  # noqa: PLC0415 - main imports us

    found = get_completion_class(shell)
    assert found is not None
    complete = found(cli, {}, "reconciler", "_RECONCILER_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())  # `source()` would run a bash to ask for its version


def _answer(database: Database, seconds: float, timeout: str) -> SourceState:
    """How the look went that the daemon took for us."""
    from reconciler.store import sources  # noqa: PLC0415 - sqlalchemy, only when called

    token = uuid.uuid4().hex
    until = time.monotonic() + seconds
    with database.write() as connection:
        if not sources.request(connection, token):
            raise UsageError("NoSource", "the daemon has no source of specs")
    while time.monotonic() < until:
        with database.read() as connection:
            state = sources.answered(connection, token)
        if state is not None:
            return state
        time.sleep(POLL)
    raise WaitingError("NotHandled", f"the source was not looked at within {timeout}")


def _told(state: SourceState) -> int:
    where = plain(f"{state.owner}: {state.commit}" if state.commit is not None else state.owner)
    if state.message:
        click.echo(f"{where}: stays as it was: {plain(state.message)}", err=True)
        return exit_codes.UNKNOWN
    click.echo(where)
    return 0 if state.readable else exit_codes.ERROR


def _fetched(session: Session, asked: dict[str, Any]) -> int:
    where = session.source(None, asked)
    if where is None or isinstance(where, Path):
        raise UsageError("NoDaemon", "no daemon runs, and a folder needs no fetching: use `reconciler plan`")
    from reconciler.loading.git_source import open_git_source  # noqa: PLC0415 - only without a daemon

    source = open_git_source(session.settings, where)
    fetch_source(source, session.settings, asked)
    click.echo(plain(f"{where}: {source.mirror.head()}"))
    return 0
