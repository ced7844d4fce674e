"""apply: plan, ask, carry out, recap."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import exit_codes
from reconciler.cli.plan_commands import Ask, look, planning_options, show_problems
from reconciler.cli.session import NotConfirmed, Session
from reconciler.errors import SpecError, UsageError
from reconciler.model.plan import Change, Plan
from reconciler.model.result import Result, Verdict

if TYPE_CHECKING:
    from reconciler.engine.dry_run import Looked
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.runtime import Runtime
    from reconciler.engine.workspace import Workspace


@click.command(short_help="Plan, ask, and make it so.")
@click.argument("specs", required=False, metavar="[SPECS|PLANFILE]")
@planning_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--check", "--dry-run", "check", is_flag=True, help="Only show what would be done (as `plan`).")
@click.option("--diff", "show_diff", is_flag=True, help="Show differences when not asking.")
@click.option("--forks", type=click.IntRange(1, 256), metavar="N", help="How many changes at a time.")
@click.option("--keep-going", is_flag=True, help="Apply what is valid although other specs are not.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="json: a stream of events.")
@click.pass_obj
def apply(session: Session, /, specs: str | None, variables: dict[str, Any], **asked: Any) -> int:
    """Carry out SPECS (a folder or file), or exactly the plan in PLANFILE.

    \b
    Example:
      reconciler apply specs/ --yes
      reconciler apply plan.json
    """
    document = None
    if specs is not None and specs.endswith(".json"):
        from reconciler.engine.plan_format import read_file  # noqa: PLC0415 - only for a plan file

        document = read_file(Path(specs))
        specs = document["source"] or None
        asked["prune"], asked["max_deletes"] = document["options"]["prune"], document["options"]["maxDeletes"]
    where = session.source(specs, asked if document is None else {**asked, "git": None, "branch": None, "path": None})
    with session.engine("apply", variables) as (runtime, reconciler):
        workspace = session.workspace(runtime, where, asked)
        if show_problems(workspace) and not asked["keep_going"]:
            raise SpecError(
                "InvalidSpecs", "nothing was changed; repair the specs, or apply the rest with --keep-going"
            )
        ask = Ask(*(asked[name] for name in ("limit", "labels", "prune", "max_deletes")))
        looked = look(reconciler, workspace, ask)
        if document is not None:
            looked = _exactly(looked, document)
        return Application(session, runtime, reconciler, workspace).run(looked, document, asked)


class Application:
    """One `apply` after its plan is known."""

    def __init__(self, session: Session, runtime: Runtime, reconciler: Reconciler, workspace: Workspace) -> None:
        self.session = session
        self.runtime = runtime
        self.reconciler = reconciler
        self.workspace = workspace

    def run(self, looked: Looked, document: dict[str, Any] | None, asked: dict[str, Any]) -> int:
        """Show, ask, carry out, recap. Returns the exit code."""
        from reconciler.cli.progress import make_reporter  # noqa: PLC0415 - chooses between terminal, text and JSON

        plan = looked.plan
        asking = not asked["yes"] and not asked["check"] and bool(plan.effective) and document is None
        if asked["output"] == "text" and (asking or asked["check"] or asked["show_diff"]):
            self._show(plan)
        if asking:
            self._ask(plan, asked["output"])
        reporter = make_reporter(asked["output"])
        if asked["check"]:
            with reporter:
                reporter.planned(plan)
            return exit_codes.of_plan(plan, detailed=False)
        self.workspace.record()
        with reporter:
            reporter.planned(plan)
            self.reconciler.recover()
            self.reconciler.settle(self.workspace, looked)
            results = self._execute(looked, document, asked["forks"], reporter) if plan.effective else []
            everything = [*results, *(unrun_result(change) for change in plan.changes if not change.is_effective)]
            reporter.recap(everything, plan)
        return exit_codes.INTERRUPTED if self.runtime.stopping.is_set() else exit_codes.of_results(everything)

    def _show(self, plan: Plan) -> None:
        from reconciler.cli.render import plan_lines  # noqa: PLC0415 - not for JSON

        for line in plan_lines(plan):
            click.echo(line)

    def _ask(self, plan: Plan, output: str) -> None:
        if output == "json" or not sys.stdin.isatty():
            raise UsageError("NotConfirmed", "nobody can be asked here: look at the plan, then apply with --yes")
        if not click.confirm(f"Carry out these {len(plan.effective)} changes?", default=False):
            raise NotConfirmed

    def _execute(
        self, looked: Looked, document: dict[str, Any] | None, forks: int | None, reporter: Any
    ) -> list[Result]:
        from reconciler.engine.plan_format import to_json  # noqa: PLC0415 - only when something runs
        from reconciler.store.journal import RunStart  # noqa: PLC0415

        start = RunStart(
            owner=self.runtime.owner,
            trigger="apply",
            revision=looked.plan.revision,
            summary=looked.plan.summary(),
            plan=to_json(looked.plan),
            plan_digest=document["digest"] if document is not None else "",
        )
        forks = forks or self.runtime.settings.forks
        return self.reconciler.apply(self.workspace, looked, start, reporter, forks)[1]


def unrun_result(change: Change) -> Result:
    """How a change for which nothing runs counts in the recap."""
    obstacle = change.obstacle
    if obstacle is None:
        return Result(change, "ok", "AsDesired", change.why)
    verdicts: dict[str, Verdict] = {
        "blocked": "blocked",
        "waiting": "skipped",
        "suspended": "skipped",
        "unknown": "unknown",
    }
    verdict = verdicts.get(obstacle.kind, "ok")
    if obstacle.reason == "Unreachable":
        verdict = "unreachable"
    return Result(change, verdict, obstacle.reason, obstacle.message)


def _exactly(looked: Looked, document: dict[str, Any]) -> Looked:
    """The plan of a file, if nothing that it was computed from has moved."""
    from dataclasses import replace  # noqa: PLC0415 - only for a plan file

    from reconciler.engine.plan_format import restrict  # noqa: PLC0415 - only for a plan file

    return replace(looked, plan=restrict(looked.plan, document))
