"""lab: two small nodes to try node pairs on. They run apart from us until they are taken down."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.session import Session


@click.group(short_help="Two small nodes to try upgrades of node pairs on.")
def lab() -> None:
    """Two small nodes, with sshd, rsync and a small versioned service: as root machines with a real systemd, otherwise
    two folders. `up` writes a document of kind NodePair for them.

    \b
    Example:
      reconciler lab up
      reconciler lab status
      reconciler lab down
    """


@lab.command()
@click.option(
    "--variant", type=click.Choice(["rooted", "plain"]), default=None, help="Left out: what is possible here."
)
@click.pass_obj
def up(session: Session, variant: str | None) -> None:
    """Make the nodes and wait until they answer. Nothing to do while they run.

    \b
    Example:
      reconciler lab up --variant plain
    """
    from reconciler.lab import labs  # noqa: PLC0415 - --help needs no lab

    labs.up(_home(session), variant or "")
    _show(session)


@lab.command()
@click.pass_obj
def down(session: Session) -> None:
    """Remove the nodes and all that was made for them, also when they were killed while they were made.

    \b
    Example:
      reconciler lab down
    """
    from reconciler.lab import labs  # noqa: PLC0415 - likewise

    click.echo("the lab is gone" if labs.down(_home(session)) else "there is no lab")


@lab.command()
@click.pass_obj
def status(session: Session) -> None:
    """Whether they run, how to log in, and where the document of their pair is.

    \b
    Example:
      reconciler lab status
    """
    _show(session)


def _show(session: Session) -> None:
    from reconciler.lab import labs  # noqa: PLC0415 - likewise

    home = _home(session)
    found = labs.look(home)
    if found is None:
        click.echo("there is no lab; make one with: reconciler lab up")
        return
    for node in found.nodes:
        state = "answers" if labs.answers(node) else "does not answer"
        click.echo(f"{node.name}: {state}; rsync on port {node.rsync_port}, its service on port {node.service_port}")
        click.echo(f"  {labs.login(home, node)}")
    if (document := labs.document(home)) is not None:
        click.echo(f"the pair of them: {document}")


def _home(session: Session) -> Path:
    from reconciler.loading.settings import ensure_home  # noqa: PLC0415 - --help needs no settings

    return ensure_home(session.settings)
