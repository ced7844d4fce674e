"""A plan as Markdown, for a comment on a pull request: `plan -o markdown`.

Everything that comes from documents and live systems stands in code, where it is neither markup nor a mention of
somebody nor a link. The text is bounded, because what takes comments bounds them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.model.plan import Action, Change, FieldDiff, Plan

if TYPE_CHECKING:
    from reconciler.loading.problems import Problem
    from reconciler.model.commit import Commit

LONGEST = 60_000
"""Characters of a whole comment; the largest services take 65,536."""
_LONGEST_CELL = 200
_LONGEST_VALUE = 2000
_MAX_PROBLEMS = 20
_SIGNS = {Action.CREATE: "➕", Action.UPDATE: "✏️", Action.REPLACE: "♻️", Action.DELETE: "🗑️", Action.NOOP: "⏸️"}


def plan_markdown(plan: Plan, problems: Sequence[Problem], commit: Commit | None) -> str:
    """The plan: summary, what is wrong with the specs, a table, and the differences of each change to unfold."""
    listed = [change for change in plan.changes if change.is_effective or change.obstacle is not None or change.diffs]
    text = _Bounded()
    text.add("### Plan\n\n")
    text.add(f"**{plan.summary().removeprefix('Plan: ')}**\n\n")
    if commit is not None:
        text.add(f"Commit {code(str(commit))}\n\n")
    text.add("".join(_problem_lines(problems)))
    if listed:
        text.add("| | Resource | Action | Why |\n|---|---|---|---|\n")
        _add_all(text, [_row(change) for change in listed], "more rows", reserved=LONGEST // 2)
        text.add("\n")
        _add_all(text, [part for change in listed if (part := _details(change))], "more changes with differences")
    return text.text


class _Bounded:
    """Text that grows up to LONGEST characters."""

    def __init__(self) -> None:
        self.text = ""

    def has_room(self, part: str, reserved: int) -> bool:
        """Whether a part fits, with some characters left for what comes after it."""
        return len(self.text) + len(part) + reserved <= LONGEST

    def add(self, part: str) -> None:
        """Add a part that is known to be short."""
        self.text += part


def _add_all(text: _Bounded, parts: Sequence[str], what: str, reserved: int = 200) -> None:
    """Add whole parts while there is room, and say how many are left out."""
    for number, part in enumerate(parts):
        if not text.has_room(part, reserved):
            text.add(f"\n… and {len(parts) - number} {what}; `reconciler plan` shows them all.\n")
            return
        text.add(part)


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    if not problems:
        return
    yield f"⚠️ **{len(problems)} problems in the specs**\n\n"
    for problem in problems[:_MAX_PROBLEMS]:
        yield f"- {code(str(problem))}\n"
    if len(problems) > _MAX_PROBLEMS:
        yield f"- … and {len(problems) - _MAX_PROBLEMS} more\n"
    yield "\n"


def _row(change: Change) -> str:
    held = f"{change.obstacle.kind}: {change.obstacle.message}" if change.obstacle is not None else change.why
    sign = _SIGNS[change.action] if change.obstacle is None else "✋"
    return f"| {sign} | {code(str(change.ref))} | {change.action.value} | {code(held)} |\n"


def _details(change: Change) -> str:
    if not (change.diffs or change.steps):
        return ""
    lines = [line for entry in change.diffs for line in _diff_lines(entry)]
    lines += [f"# step {step.name}: {step.title} ({step.preview})" for step in change.steps]
    content = "\n".join("".join(char if char.isprintable() else "·" for char in line) for line in lines)
    if len(content) > LONGEST // 4:
        content = content[: LONGEST // 4] + "\n# … cut"
    fence = "`" * max(3, _longest_run(content) + 1)
    head = f"{change.action.value} {change.ref}"  # a CamelCase word, a slash, a DNS label: nothing to escape
    return f"<details><summary>{head}</summary>\n\n{fence}diff\n{content}\n{fence}\n\n</details>\n\n"


def _diff_lines(entry: FieldDiff) -> Iterator[str]:
    if entry.before is not None:
        yield f"- {entry.path}: {_value(entry.before)}"
    if entry.after is not None:
        yield f"+ {entry.path}: {_value(entry.after)}"


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"


def code(text: str) -> str:
    """Somebody else's text as code on one line, in a table as well."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    line = line if len(line) <= _LONGEST_CELL else f"{line[:_LONGEST_CELL]}…"
    if not line:
        return ""
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}".replace("|", "\\|") if "`" in line else f"`{line}`".replace("|", "\\|")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
