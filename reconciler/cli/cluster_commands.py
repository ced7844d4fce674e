"""cluster: what only clusters can do."""

from __future__ import annotations

import click

from reconciler.cli.branch_commands import branches
from reconciler.cli.route_commands import routes
from reconciler.cli.session import Session
from reconciler.errors import UsageError
from reconciler.model.resource import ResourceRef

_APPLY = {"yes": True, "check": False, "output": "text", "show_diff": False, "forks": None}
_now = click.option("--apply/--no-apply", "now", default=True, help="Carry it out now, or leave that to the daemon.")


@click.group(short_help="What can be done with a cluster.")
def cluster() -> None:
    """What can be done with a cluster beside planning and applying.

    \b
    Example:
      export KUBECONFIG=$(reconciler cluster kubeconfig dev)
    """


cluster.add_command(branches)
cluster.add_command(routes)


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


@cluster.command()
@click.argument("name")
@_now
@click.pass_obj
def start(session: Session, name: str, now: bool) -> int:
    """Say that cluster NAME shall run, and start it.

    \b
    Example:
      reconciler cluster start dev
    """
    return _switch(session, name, running=True, now=now)


@cluster.command()
@click.argument("name")
@_now
@click.pass_obj
def stop(session: Session, name: str, now: bool) -> int:
    """Say that cluster NAME shall stand still, and stop it. What it holds stays.

    \b
    Example:
      reconciler cluster stop dev
    """
    return _switch(session, name, running=False, now=now)


@cluster.command(name="load-image")
@click.argument("name")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_obj
def load_image(session: Session, name: str, images: tuple[str, ...]) -> None:
    """Put images into the nodes of cluster NAME, of kind or k3d, now; each is pulled first unless this host has it.

    For images that a cluster always needs there is spec.preloadImages.

    \b
    Example:
      reconciler cluster load-image dev traefik/whoami:v1.10.2
    """
    from reconciler.engine.context import ObserveContext  # noqa: PLC0415 - the engine, only when called
    from reconciler.kinds.cluster import load_images  # noqa: PLC0415
    from reconciler.store import leases  # noqa: PLC0415 - sqlalchemy, only when called

    ref = str(ResourceRef("Cluster", name))
    with session.engine("load-image") as (runtime, reconciler):
        ttl = runtime.settings.lease_ttl
        with reconciler.keeper.holding(lambda: leases.acquire(runtime.database, ref, runtime.owner, ttl)):
            load_images(name, images, ObserveContext(runtime, "Cluster", runtime.settings.observe_timeout))
    click.echo(f"{ref}: loaded {', '.join(images)}")


def _switch(session: Session, name: str, *, running: bool, now: bool) -> int:
    """Change what is wanted of a cluster that the store owns; then make it so, unless a daemon is to."""
    from reconciler.cli.apply_commands import Application  # noqa: PLC0415 - the engine, only when called
    from reconciler.cli.plan_commands import Ask, look  # noqa: PLC0415
    from reconciler.engine import desired  # noqa: PLC0415
    from reconciler.store.owners import actor_name  # noqa: PLC0415 - only when called

    ref = ResourceRef("Cluster", name)
    with session.engine("start" if running else "stop") as (runtime, reconciler):
        with runtime.database.write() as connection:
            desired.set_running(runtime, connection, ref, running, actor_name())
        click.echo(f"{ref}: shall {'run' if running else 'stand still'}")
        if not now:
            return 0
        workspace = session.workspace(runtime, None)
        looked = look(reconciler, workspace, Ask(limit=[str(ref)]))
        return Application(session, runtime, reconciler, workspace).run(looked, None, _APPLY)
