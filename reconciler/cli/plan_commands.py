"""plan and diff: everything but the doing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import exit_codes
from reconciler.cli.selection import select, selection_options
from reconciler.cli.session import Session
from reconciler.cli.sources import source_options
from reconciler.cli.variables import variables_option
from reconciler.model.plan import Action, Plan
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from reconciler.engine.dry_run import DryRun, Looked
    from reconciler.engine.workspace import Workspace
    from reconciler.transports.git_place import GitPlace


@dataclass(frozen=True, slots=True)
class Ask:
    """What a command was asked to plan."""

    limit: Sequence[str] = ()
    labels: Sequence[str] = ()
    prune: bool | None = None
    max_deletes: int | None = None


def planning_options(function: Any) -> Any:
    """The options that every planning command has, beside those of its source."""
    function = click.option(
        "--max-deletes", type=click.IntRange(0), metavar="N", help="Allow up to N deletes and replaces."
    )(function)
    function = click.option("--prune/--no-prune", default=None, help="Delete what the specs no longer name.")(function)
    return source_options(variables_option(selection_options(function)))


def look(engine: DryRun, workspace: Workspace, ask: Ask) -> Looked:
    """Plan what was asked for."""
    from reconciler.engine.dry_run import PlanRules  # noqa: PLC0415 - the engine is loaded by then

    scope: list[ResourceRef] = select(workspace, ask.limit, ask.labels)
    return engine.plan(workspace, scope, PlanRules(ask.prune, ask.max_deletes))


def show_problems(workspace: Workspace) -> int:
    """Print what is wrong with the specs to stderr; how many problems there are."""
    from reconciler.cli.render import plain  # noqa: PLC0415 - --help renders nothing

    for problem in workspace.problems:
        click.secho(plain(str(problem)), fg="red", err=True)
    return len(workspace.problems)


@click.command(short_help="Show what apply would do, and change nothing.")
@click.argument("specs", required=False)
@planning_options
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="How to print the plan; markdown is for a comment on a pull request.",
)
@click.option("--out", metavar="FILE", help="Write a plan file that `apply FILE` carries out, once.")
@click.option("--detailed-exitcode", is_flag=True, help="0 nothing, 1 error, 2 changes.")
@click.pass_obj
def plan(
    session: Session,
    /,
    specs: str | None,
    output: str,
    out: str | None,
    variables: dict[str, Any],
    **asked: Any,
) -> int:
    """Compare SPECS with the store and the live systems, and show what apply would do.

    \b
    Example:
      reconciler plan specs/
      reconciler plan specs/ --limit 'Cluster/dev*' --out plan.json
    """
    if specs is not None and specs.endswith(".json"):
        return _show_file(Path(specs), output)
    where = session.source(specs, asked)
    with session.dry_run("plan", variables) as (runtime, engine):
        workspace = session.workspace(runtime, where, asked)
        problems = show_problems(workspace)
        found = look(engine, workspace, Ask(**_ask(asked))).plan
    source = source_name(where)
    _print(found, output, source, workspace)
    if out is not None:
        from reconciler.engine.plan_format import write_file  # noqa: PLC0415 - only for --out

        write_file(found, Path(out), source)
        click.echo(f"Written to {out}: carry it out with `reconciler apply {out}`", err=True)
    return exit_codes.ERROR if problems else exit_codes.of_plan(found, detailed=asked["detailed_exitcode"])


@click.command(short_help="Show differences only; exit 1 when there are some.")
@click.argument("specs", required=False)
@planning_options
@click.pass_obj
def diff(session: Session, /, specs: str | None, variables: dict[str, Any], **asked: Any) -> int:
    """Show every field that differs between SPECS and the live systems.

    \b
    Example:
      reconciler diff specs/ || echo "drift"
    """
    from reconciler.cli.main import report  # noqa: PLC0415 - main imports us
    from reconciler.cli.render import change_lines, plain  # noqa: PLC0415 - --help renders nothing

    try:
        with session.dry_run("diff", variables) as (runtime, engine):
            workspace = session.workspace(runtime, session.source(specs, asked), asked)
            problems = show_problems(workspace)
            found = look(engine, workspace, Ask(**_ask(asked))).plan
    except Exception as error:  # noqa: BLE001 - whatever it is, 1 would say that there are differences
        return max(report(error), 2)
    differing = [change for change in found.changes if change.diffs or change.action is not Action.NOOP]
    for change in differing:
        for line in change_lines(change, steps=False):
            click.echo(line)
    unseen = [change for change in found.changes if change.obstacle is not None and change.obstacle.kind == "unknown"]
    for change in unseen:
        assert change.obstacle is not None
        click.echo(plain(f"{change.ref}: {change.obstacle.message} [{change.obstacle.reason}]"), err=True)
    if problems:
        return 2
    if unseen:
        return exit_codes.UNKNOWN
    return 1 if differing else 0


def _ask(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: asked[name] for name in ("limit", "labels", "prune", "max_deletes")}


def source_name(where: Path | GitPlace | None) -> str:
    """A source as a plan file names it: an absolute path, or `git:URL@BRANCH//PATH`."""
    if where is None:
        return ""
    return str(where.resolve()) if isinstance(where, Path) else str(where)


def _print(found: Plan, output: str, source: str, workspace: Workspace) -> None:
    if output == "markdown":
        from reconciler.cli.markdown import plan_markdown  # noqa: PLC0415 - only for -o markdown

        click.echo(plan_markdown(found, workspace.problems, workspace.commit), nl=False)
        return
    if output == "json":
        from reconciler.engine.plan_format import to_json  # noqa: PLC0415 - only for -o json

        click.echo(json.dumps(to_json(found, source), indent=2))
        return
    from reconciler.cli.render import plain, plan_lines  # noqa: PLC0415 - not for JSON

    if workspace.commit is not None:
        click.echo(plain(f"Commit: {workspace.commit}"))
    for line in plan_lines(found):
        click.echo(line)


def _show_file(path: Path, output: str) -> int:
    """A plan file can be looked at, also when it is stale."""
    from reconciler.cli.render import plain, shown  # noqa: PLC0415 - not for JSON
    from reconciler.engine.plan_format import read_file  # noqa: PLC0415 - only for a file

    document = read_file(path)
    if output == "json":
        click.echo(json.dumps(document, indent=2))
        return 0
    for change in document["changes"]:
        click.echo(plain(f"{change['ref']}  {change['action']}  {change['place']}\n    why: {change['why']}"))
        for entry in change["diffs"]:
            click.echo(f"    {plain(entry['path'])}: {shown(entry['before'])} -> {shown(entry['after'])}")
    click.echo(document["summary"])
    return 0
