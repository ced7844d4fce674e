"""Text for people: plans, tables, times. Colours through click, which drops them where nobody sees them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from reconciler.model.duration import format_duration
from reconciler.model.plan import Action, Change, FieldDiff, Plan
from reconciler.model.result import VERDICTS, Verdict

_SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "magenta"),
    Action.DELETE: ("-", "red"),
    Action.NOOP: (" ", "white"),
}
_VERDICT_COLORS: dict[Verdict, str] = {
    "ok": "green",
    "changed": "yellow",
    "unreachable": "magenta",
    "failed": "red",
    "skipped": "cyan",
    "blocked": "magenta",
    "unknown": "magenta",
}
MAX_VALUE = 120


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan as text: every change with its differences and steps, then what is held back, then the summary."""
    for change in plan.changes:
        if change.is_effective or change.obstacle is not None or change.diffs:
            yield from change_lines(change)
            yield ""
    previews = [step.preview for change in plan.effective for step in change.steps]
    if previews:
        counts = ", ".join(f"{previews.count(name)} {name}" for name in dict.fromkeys(previews))
        yield f"Steps: {len(previews)} ({counts})"
    yield click.style(plan.summary(), bold=True)
    held = [change for change in plan.changes if change.obstacle is not None]
    if held:
        yield f"Held back: {len(held)} (see above)"


def change_lines(change: Change, *, steps: bool = True) -> Iterator[str]:
    """One change: what, where, why, differences, steps, and what stands in its way."""
    sign, color = _SIGNS[change.action]
    head = f"{sign} {change.ref}  {change.action.value}"
    yield click.style(head, fg=color, bold=True) + click.style(f"  {plain(str(change.resource.source))}", dim=True)
    yield f"    why: {plain(change.why)}"
    yield from diff_lines(change.diffs)
    if steps and change.steps:
        yield "    steps: " + ", ".join(f"{step.name} ({step.preview})" for step in change.steps)
        yield from (f"    $ {plain(step.command)}" for step in change.steps if step.command)
    if change.obstacle is not None:
        obstacle = change.obstacle
        yield click.style(f"    {obstacle.kind}: {plain(obstacle.message)} [{obstacle.reason}]", fg="magenta")


def diff_lines(diffs: Iterable[FieldDiff]) -> Iterator[str]:
    """Differences, one a line."""
    for entry in diffs:
        if entry.before is None:
            yield click.style(f"    + {entry.path}: {shown(entry.after)}", fg="green")
        elif entry.after is None:
            yield click.style(f"    - {entry.path}: {shown(entry.before)}", fg="red")
        else:
            yield click.style(f"    ~ {entry.path}: {shown(entry.before)} -> {shown(entry.after)}", fg="yellow")


def shown(value: Any) -> str:
    """A value on one line, control characters escaped, shortened."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def plain(text: str) -> str:
    """Text of somebody else's with `·` for every control character but tab and newline: it stays text on a terminal."""
    return "".join(char if char.isprintable() or char in "\t\n" else "·" for char in text)


def close_output() -> None:
    """Whoever read our output has enough: from now on it goes nowhere, so that nothing fails for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def recap_lines(counts: dict[str, dict[Verdict, int]]) -> Iterator[str]:
    """The recap, one line a target."""
    width = max((len(target) for target in counts), default=0)
    yield click.style("RECAP", bold=True)
    for target, row in counts.items():
        cells = (
            click.style(f"{verdict}={row[verdict]}", fg=_VERDICT_COLORS[verdict] if row[verdict] else None)
            for verdict in VERDICTS
        )
        yield f"{target:<{width}} : " + "  ".join(cells)


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> Iterator[str]:
    """Columns as kubectl prints them. Widths count characters."""
    if not rows:
        return
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    for row in (header, *rows):
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def ago(moment: float | None, now: float | None = None) -> str:
    """How long ago, or `-`."""
    if moment is None:
        return "-"
    return format_duration(max(0.0, (time.time() if now is None else now) - moment))


def verdict_text(verdict: Verdict) -> str:
    """A verdict in its colour."""
    return click.style(verdict, fg=_VERDICT_COLORS[verdict], bold=True)
