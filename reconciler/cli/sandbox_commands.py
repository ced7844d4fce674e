"""sandbox: start, stop and look at the local Kubernetes API. A process of its own."""

from __future__ import annotations

import os
import sys

import click

from reconciler.cli.session import Session


@click.group(short_help="The local Kubernetes API that ships with this program.")
def sandbox() -> None:
    """The local Kubernetes API: one process a home, started when a sandbox cluster is first made.

    \b
    Example:
      reconciler sandbox status
    """


@sandbox.command()
@click.pass_obj
def serve(session: Session) -> None:
    """Serve in the foreground, until ended.

    \b
    Example:
      reconciler sandbox serve
    """
    _pass_on(session, "serve")


@sandbox.command()
@click.pass_obj
def stop(session: Session) -> None:
    """End the process; its clusters keep their state.

    \b
    Example:
      reconciler sandbox stop
    """
    _pass_on(session, "stop")


@sandbox.command()
@click.pass_obj
def status(session: Session) -> None:
    """Whether it runs, and which clusters it serves.

    \b
    Example:
      reconciler sandbox status
    """
    _pass_on(session, "status")


def _pass_on(session: Session, verb: str) -> None:
    from reconciler.loading.settings import ensure_home  # noqa: PLC0415 - --help needs no settings

    home = ensure_home(session.settings)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "reconciler.sandbox", verb, "--home", str(home)])  # noqa: S606 - ourselves
