"""cluster: what only clusters can do."""

from __future__ import annotations

import click

from reconciler.cli.session import Session
from reconciler.errors import UsageError


@click.group(short_help="What can be done with a cluster.")
def cluster() -> None:
    """What can be done with a cluster beside planning and applying.

    \b
    Example:
      export KUBECONFIG=$(reconciler cluster kubeconfig dev)
    """


@cluster.command()
@click.argument("name")
@click.pass_obj
def kubeconfig(session: Session, name: str) -> None:
    """Print the path of the kubeconfig of cluster NAME.

    \b
    Example:
      kubectl --kubeconfig "$(reconciler cluster kubeconfig dev)" get nodes
    """
    from sqlalchemy import select  # noqa: PLC0415 - only when called

    from reconciler.kinds.cluster import kubeconfig_of  # noqa: PLC0415
    from reconciler.kinds.cluster.tables import clusters  # noqa: PLC0415

    with session.database() as database, database.read() as connection:
        row = connection.execute(select(clusters).where(clusters.c.name == name)).one_or_none()
    if row is None:
        raise UsageError("NoSuchCluster", f"no cluster {name} is recorded")
    path, _ = kubeconfig_of(session.settings.home, dict(row._mapping))
    if not path.exists():
        raise UsageError("NoKubeconfig", f"cluster {name} has no kubeconfig yet (it is {row.actual_state})")
    click.echo(path)
