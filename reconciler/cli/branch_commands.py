"""cluster branches: the branches that follow clusters, against the clusters. Part of the group `cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import exit_codes
from reconciler.cli.plan_commands import show_problems
from reconciler.cli.render import plain
from reconciler.cli.session import Session
from reconciler.cli.sources import source_options
from reconciler.cli.variables import variables_option
from reconciler.errors import BlockedError
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.runtime import Runtime
    from reconciler.kinds.cluster.branches.comparing import Branch, Compared

_MEANING = {
    "kept": "of {0}",
    "missing": "of {0}: made when that is applied",
    "leftover": "made for {0}, which is gone",
    "reserved": "never touched",
    "foreign": "not ours: never touched",
}


@click.command(short_help="Compare branches with clusters; delete what deleted clusters left.")
@click.argument("specs", required=False)
@click.option("--prune", is_flag=True, help="Archive and delete branches that we made and whose cluster is gone.")
@click.option("--dry-run", is_flag=True, help="With --prune: say what would be deleted, and delete nothing.")
@source_options
@variables_option
@click.pass_obj
def branches(
    session: Session, /, specs: str | None, prune: bool, dry_run: bool, variables: dict[str, Any], **asked: Any
) -> int:
    """Show the branches of every repository that SPECS or the records name, and whose each is.

    A branch is deleted only when the records say that we made it, for a cluster that neither the records nor SPECS have
    any more; a tag archive/BRANCH/YYYYmmdd-HHMMSS keeps it. Without any business cluster nothing is deleted.

    \b
    Example:
      reconciler cluster branches specs/
      reconciler cluster branches specs/ --prune --dry-run
    """
    from reconciler.engine.context import ObserveContext  # noqa: PLC0415 - the engine, only when called
    from reconciler.kinds.cluster.branches import comparing  # noqa: PLC0415

    where = session.source(specs, asked)
    with session.engine("branches", variables) as (runtime, reconciler):
        workspace = session.workspace(runtime, where, asked)
        problems = show_problems(workspace)
        wanted = [resource for ref, resource in workspace.desired.items() if ref.kind == "Cluster"]
        context = ObserveContext(runtime, "Cluster", runtime.settings.observe_timeout)
        compared = comparing.compare(wanted, context)
        _show(compared)
        comparing.require_business_cluster(context)
        if prune and problems:
            raise BlockedError("SpecsBroken", "what is wrong with the specs may hide a cluster; nothing is deleted")
        if prune:
            _prune(runtime, reconciler, compared.leftovers, dry_run=dry_run)
    return exit_codes.UNKNOWN if compared.unseen else exit_codes.ERROR if problems else exit_codes.OK


def _show(compared: Compared) -> None:
    for branch in compared.branches:
        meaning = _MEANING[branch.standing].format(f"Cluster/{branch.cluster}")
        click.echo(plain(f"{branch.standing:9} {branch.name}  {branch.repository}  {meaning}"))
    for url, why in compared.unseen.items():
        click.secho(plain(f"could not look at {url}: {why}"), fg="red", err=True)


def _prune(runtime: Runtime, reconciler: Reconciler, leftovers: Iterable[Branch], *, dry_run: bool) -> None:
    """One after another, each under the lease of its cluster. What cannot be deleted ends the command."""
    from reconciler.engine.leased_context import LeasedContext  # noqa: PLC0415 - the engine is loaded by then
    from reconciler.kinds.cluster.branches import comparing  # noqa: PLC0415
    from reconciler.store import leases  # noqa: PLC0415 - sqlalchemy, likewise

    for branch in leftovers:
        if dry_run:
            click.echo(plain(f"would archive and delete {branch.name} of {branch.repository}"))
            continue
        ref, ttl = str(ResourceRef("Cluster", branch.cluster)), runtime.settings.lease_ttl
        with reconciler.keeper.holding(
            lambda ref=ref, ttl=ttl: leases.acquire(runtime.database, ref, runtime.owner, ttl)  # type: ignore[misc]  # binds them
        ) as lease:
            tag = comparing.prune(branch, LeasedContext(runtime, "Cluster", lease))
        told = (
            f"deleted {branch.name} of {branch.repository}; {tag} keeps it" if tag else f"{branch.name} was left alone"
        )
        click.echo(plain(told))
