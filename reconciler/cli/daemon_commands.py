"""daemon: start the service in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconciler.cli import garbage
from reconciler.cli.session import Session
from reconciler.cli.sources import source_options
from reconciler.cli.variables import variables_option


@click.command(short_help="Watch the specs and keep everything as they say.")
@click.argument("specs", required=False)
@source_options
@variables_option
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page; 0 takes a free one.")
@click.option("--prune/--no-prune", default=None, help="Delete what the specs no longer name.")
@click.option("--interval", metavar="DURATION", help="How often to look at what is not as desired yet.")
@click.option(
    "--bootstrap-csv",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Import this table of clusters first, if nothing was ever recorded in the store.",
)
@click.pass_obj
def daemon(session: Session, /, specs: str | None, variables: dict[str, Any], **asked: Any) -> int:
    """Watch SPECS, or follow a branch, heal drift, and serve the page, until SIGTERM.

    \b
    Example:
      reconciler daemon specs/
      reconciler daemon --git https://git.example.com/platform/specs.git --branch prod --path clusters
    """
    from dataclasses import replace  # noqa: PLC0415 - the daemon's own modules, only for the daemon

    from reconciler.daemon.service import Service  # noqa: PLC0415
    from reconciler.engine.wiring import open_runtime, open_workspace  # noqa: PLC0415
    from reconciler.errors import UsageError  # noqa: PLC0415
    from reconciler.model.duration import parse_duration  # noqa: PLC0415

    settings = session.settings
    if asked["port"] is not None:
        settings = replace(settings, web=replace(settings.web, port=asked["port"]))
    if asked["prune"] is not None:
        settings = replace(settings, prune=asked["prune"])
    if asked["interval"] is not None:
        try:
            settings = replace(settings, unsettled_interval=parse_duration(asked["interval"]))
        except ValueError as error:
            raise UsageError("BadDuration", str(error)) from error
    if asked["force_updates"] is not None:
        settings = replace(settings, git=replace(settings.git, force_updates=asked["force_updates"]))
    where = session.source(specs, asked)
    runtime = open_runtime(settings, "daemon", variables)
    try:
        if asked["bootstrap_csv"] is not None:
            from reconciler.cli.import_commands import bootstrap  # noqa: PLC0415 - only when asked for

            bootstrap(runtime, asked["bootstrap_csv"])
        service = Service(runtime, open_workspace(runtime, where), where)
        garbage.look_at_what_is_new()
        return service.run(lambda url: click.echo(f"page: {url}"))
    finally:
        runtime.database.close()
