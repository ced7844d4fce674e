"""What `apply` prints while it runs: plain lines, a live display on a terminal, or a stream of JSON objects.

The JSON stream has one object a line with a stable `type`: `version`, `plan`, `change_started`, `step_started`,
`step_ended`, `change_ended`, `recap`. `docs/json-stream.md` describes the fields.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import click

from reconciler import __version__
from reconciler.cli.render import close_output, plain, recap_lines, shown, verdict_text
from reconciler.engine.listener import Listener
from reconciler.engine.plan_format import to_json
from reconciler.model.duration import format_duration
from reconciler.model.plan import Change, Plan, PlannedStep
from reconciler.model.result import Result, StepOutcome, recap


class Reporter(Listener):
    """Plain lines, for logs and pipes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take down."""

    def planned(self, plan: Plan) -> None:
        """Nothing: people have seen the plan, or did not ask for it."""

    def step_started(self, change: Change, step: PlannedStep) -> None:
        """Note when, and say which step of how many."""
        self._started[(str(change.ref), step.name)] = time.monotonic()
        names = [entry.name for entry in change.steps]
        number = f"{names.index(step.name) + 1}/{len(names)}" if step.name in names else "undo"
        self.line(f"{change.ref}: [{number}] {step.title} …")

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        """Say how it ended and how long it took."""
        took = time.monotonic() - self._started.pop((str(change.ref), step.name), time.monotonic())
        text = f"{change.ref}: {step.title}: {outcome.value} ({format_duration(took)})"
        self.line(f"{text}\n    {plain(message)}" if message else text)

    def change_ended(self, result: Result) -> None:
        """The verdict."""
        took = format_duration(result.duration)
        self.line(f"{result.change.ref}: {verdict_text(result.verdict)}: {plain(result.message)} ({took})")

    def recap(self, results: Iterable[Result], plan: Plan) -> None:
        """The last words: what was held back, then counts a target."""
        listed = list(results)
        for result in listed:
            if result.change.obstacle is not None and result.verdict in (
                "blocked",
                "unknown",
                "unreachable",
                "skipped",
            ):
                text = f"{verdict_text(result.verdict)}: {plain(result.message)} [{result.reason}]"
                self.line(f"{result.change.ref}: {text}")
        for line in recap_lines(recap(listed)):
            self.line(line)

    def line(self, text: str) -> None:
        """One line to stdout, whole, also from many threads."""
        with self._lock:
            try:
                click.echo(text)
            except BrokenPipeError:  # nobody reads any more; what was begun is finished all the same
                close_output()


class JsonReporter(Reporter):
    """One JSON object a line."""

    def __enter__(self) -> Self:
        self.emit({"type": "version", "version": __version__, "format": "reconciler.dev/stream/v1"})
        return self

    def planned(self, plan: Plan) -> None:
        """What is about to be done."""
        self.emit({"type": "plan", "plan": to_json(plan)})

    def change_started(self, change: Change) -> None:
        """A change begins."""
        self.emit(
            {"type": "change_started", "ref": str(change.ref), "action": change.action.value, "target": change.target}
        )

    def step_started(self, change: Change, step: PlannedStep) -> None:
        """A step begins."""
        self.emit({"type": "step_started", "ref": str(change.ref), "step": step.name, "title": step.title})

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        """A step ended."""
        event = {"type": "step_ended", "ref": str(change.ref), "step": step.name, "outcome": outcome.value}
        self.emit({**event, "message": message})

    def change_ended(self, result: Result) -> None:
        """A change ended."""
        event = {"type": "change_ended", "ref": str(result.change.ref), "verdict": result.verdict}
        self.emit({**event, "reason": result.reason, "message": result.message, "duration": round(result.duration, 3)})

    def recap(self, results: Iterable[Result], plan: Plan) -> None:
        """Counts a target."""
        self.emit({"type": "recap", "targets": recap(results), "summary": plan.summary()})

    def emit(self, event: dict[str, Any]) -> None:
        """One object with the time."""
        self.line(json.dumps({**event, "at": round(time.time(), 3)}))


class TerminalReporter(Reporter):
    """A bar for each change that runs, finished steps above them."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - terminal only

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[step]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, transient=True)
        self._bars: dict[str, Any] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def change_started(self, change: Change) -> None:
        """A bar as long as the weights of the steps."""
        total = sum(step.weight for step in change.steps) or 1
        name = str(change.ref)
        self._done[name] = 0
        self._bars[name] = self._progress.add_task(f"{name} {change.action.value}", total=total, step="")

    def step_started(self, change: Change, step: PlannedStep) -> None:
        """Show which step runs."""
        self._started[(str(change.ref), step.name)] = time.monotonic()
        if str(change.ref) in self._bars:
            self._progress.update(self._bars[str(change.ref)], step=step.title)

    def step_progress(self, change: Change, step: PlannedStep, percent: float, message: str) -> None:
        """Move the bar within the step."""
        name = str(change.ref)
        if name in self._bars:
            text = f"{step.title}: {shown(message)}" if message else step.title
            self._progress.update(self._bars[name], completed=self._done[name] + step.weight * percent / 100, step=text)

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        """Move the bar to the step's end."""
        super().step_ended(change, step, outcome, message)
        name = str(change.ref)
        if name in self._bars:
            self._done[name] += step.weight
            self._progress.update(self._bars[name], completed=self._done[name])

    def change_ended(self, result: Result) -> None:
        """Take the bar away and leave a line."""
        bar = self._bars.pop(str(result.change.ref), None)
        if bar is not None:
            self._progress.remove_task(bar)
        super().change_ended(result)

    def line(self, text: str) -> None:
        """Above the bars."""
        with self._lock:
            self._progress.console.print(text, highlight=False, markup=False) if "\x1b" not in text else self._styled(
                text
            )

    def _styled(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - terminal only

        self._progress.console.print(Text.from_ansi(text))


def make_reporter(output: str) -> Reporter:
    """JSON when asked for, bars on a terminal that may have colours, lines otherwise."""
    if output == "json":
        return JsonReporter()
    colored = click.get_current_context().color is not False
    return TerminalReporter() if colored and sys.stdout.isatty() else Reporter()
