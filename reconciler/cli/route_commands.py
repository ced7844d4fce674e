"""cluster routes: what HAProxy routes, against the clusters that are recorded. Part of the group `cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.render import plain
from reconciler.cli.session import Session
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.runtime import Runtime
    from reconciler.kinds.cluster.haproxy.listing import Listed

_MEANING = {
    "routed": "",
    "changed": "not as HAProxy was last seen to load it",
    "missing": "not in the file any more",
    "foreign": "not made by us: left alone",
    "ghost": "no business cluster of this name is recorded",
}


@click.command(short_help="Compare HAProxy's routes with clusters; remove those of unknown ones.")
@click.option("--prune", is_flag=True, help="Remove routes of clusters that are not recorded.")
@click.option("--dry-run", is_flag=True, help="With --prune: say what would be removed, and remove nothing.")
@click.pass_obj
def routes(session: Session, prune: bool, dry_run: bool) -> int:
    """Show the routes in the file of every HAProxy that the settings name, and whose each is.

    Routes that somebody else made for clusters that are recorded stay. Without any business cluster nothing is removed.

    \b
    Example:
      reconciler cluster routes
      reconciler cluster routes --prune
    """
    from reconciler.engine.context import ObserveContext  # noqa: PLC0415 - the engine, only when called
    from reconciler.kinds.cluster.haproxy import listing  # noqa: PLC0415

    with session.engine("routes") as (runtime, reconciler):
        context = ObserveContext(runtime, "Cluster", runtime.settings.observe_timeout)
        found = listing.listed(context)
        for route in found:
            told = (f"{route.standing:8}", route.name, route.backend or "-", str(route.gateway.file))
            click.echo(plain("  ".join((*told, _MEANING[route.standing])).rstrip()))
        if prune:
            listing.require_business_cluster(context)
            for ghost in (route for route in found if route.standing == "ghost"):
                _remove(runtime, reconciler, ghost, dry_run=dry_run)
    return 0


def _remove(runtime: Runtime, reconciler: Reconciler, ghost: Listed, *, dry_run: bool) -> None:
    """Under the lease of the cluster that it would be of. What cannot be removed ends the command."""
    from reconciler.engine.leased_context import LeasedContext  # noqa: PLC0415 - the engine is loaded by then
    from reconciler.kinds.cluster.haproxy import listing  # noqa: PLC0415
    from reconciler.store import leases  # noqa: PLC0415 - sqlalchemy, likewise

    if dry_run:
        click.echo(plain(f"would remove the route of {ghost.name} from {ghost.gateway.file}"))
        return
    ref, ttl = str(ResourceRef("Cluster", ghost.name)), runtime.settings.lease_ttl
    with reconciler.keeper.holding(lambda: leases.acquire(runtime.database, ref, runtime.owner, ttl)) as lease:
        is_gone = listing.prune(ghost, LeasedContext(runtime, "Cluster", lease))
    told = f"removed the route of {ghost.name} from" if is_gone else f"{ghost.name} is recorded meanwhile, and stays in"
    click.echo(plain(f"{told} {ghost.gateway.file}"))
