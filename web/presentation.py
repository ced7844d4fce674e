"""Words, symbols and forms in which the templates show values. Pure; registered as Jinja filters by `app`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import yaml
from markupsafe import Markup, escape

from reconciler.model.duration import format_duration
from reconciler.model.resource import ResourceRef
from reconciler.store.views import ChangeView, ResourceView, StepView

LONGEST_VALUE = 2_000
SAME_MOMENT = 0.05


@dataclass(frozen=True, slots=True)
class Face:
    """How a state looks: a symbol of its own, a word and a tone, so that colour never speaks alone.

    symbol: an icon of templates/icons.html. mark: the same as one character, for drawings and titles.
    """

    symbol: str
    mark: str
    label: str
    tone: str


STANDING_FACES: Mapping[str, Face] = {
    "stalled": Face("cross", "✖", "Stalled", "bad"),
    "failed": Face("cross", "✖", "Failed", "bad"),
    "unknown": Face("question", "?", "Unknown", "odd"),
    "blocked": Face("lock", "!", "Blocked", "warn"),
    "overdue": Face("clock", "!", "Suspended too long", "warn"),
    "vanished": Face("dashed", "−", "Not in specs", "warn"),
    "drifted": Face("differs", "≠", "Drifted", "warn"),
    "waiting": Face("dots", "…", "Waiting", "busy"),
    "reconciling": Face("arrows", "↻", "Reconciling", "busy"),
    "new": Face("circle", "○", "New", "calm"),
    "suspended": Face("pause", "‖", "Suspended", "calm"),
    "ready": Face("check", "✓", "Ready", "good"),
    "missing": Face("question", "?", "Missing", "bad"),
}
_OTHER_FACES: Mapping[str, Face] = {
    "ok": Face("check", "✓", "Ok", "good"),
    "changed": Face("check", "✓", "Changed", "good"),
    "done": Face("check", "✓", "Done", "good"),
    "succeeded": Face("check", "✓", "Succeeded", "good"),
    "True": Face("check", "✓", "True", "good"),
    "normal": Face("circle", "○", "Normal", "calm"),
    "completed": Face("check", "✓", "Completed", "good"),
    "active": Face("check", "✓", "Active", "good"),
    "initializing": Face("arrows", "↻", "Initializing", "busy"),
    "deleting": Face("arrows", "↻", "Deleting", "busy"),
    "pending": Face("dots", "…", "Pending", "busy"),
    "superseded": Face("dots", "…", "Superseded", "calm"),
    "skipped": Face("dots", "…", "Skipped", "calm"),
    "running": Face("arrows", "↻", "Running", "busy"),
    "open": Face("arrows", "↻", "Running", "busy"),
    "partial": Face("differs", "≠", "Partly failed", "warn"),
    "warning": Face("bang", "!", "Warning", "warn"),
    "unconfirmed": Face("question", "?", "Unconfirmed", "odd"),
    "interrupted": Face("question", "?", "Interrupted", "odd"),
    "unreachable": Face("question", "?", "Unreachable", "odd"),
    "alarm": Face("bang", "!", "Alarm", "bad"),
    "False": Face("cross", "✖", "False", "bad"),
    "Unknown": Face("question", "?", "Unknown", "odd"),
    "alive": Face("check", "✓", "Running", "good"),
    "stopped": Face("pause", "‖", "Stopped", "warn"),
    "gone": Face("cross", "✖", "Not running", "bad"),
    "never": Face("circle", "○", "Never started", "warn"),
    "success": Face("check", "✓", "Succeeded", "good"),
    "rolled_back": Face("arrows", "↺", "Rolled back", "warn"),
    "timeout": Face("clock", "!", "Timed out", "bad"),
    "not_yet": Face("circle", "○", "Not yet", "calm"),
    "rsync-RUNNING": Face("check", "✓", "Running", "good"),
    "rsync-STOPPED": Face("pause", "‖", "Stopped", "warn"),
    "rsync-UNKNOWN": Face("question", "?", "Unknown", "odd"),
    "RSYNC_RUNNING": Face("check", "✓", "rsync runs", "good"),
    "UPGRADE_PAUSED": Face("arrows", "↻", "Paused for an upgrade", "busy"),
    "PAUSE_FAILED": Face("bang", "!", "Pausing failed", "warn"),
    "UPGRADING": Face("arrows", "↻", "Upgrading", "busy"),
    "UPGRADED": Face("arrows", "↻", "Upgraded", "busy"),
    "SYNCING": Face("arrows", "↻", "Synchronizing", "busy"),
    "VERIFYING": Face("arrows", "↻", "Comparing", "busy"),
    "VERIFY_OK": Face("check", "✓", "Both alike", "good"),
    "VERIFY_FAILED": Face("differs", "≠", "Not alike", "bad"),
    "WAIT_MANUAL": Face("bang", "!", "Waits for a person", "bad"),
    "ROLLING_BACK": Face("arrows", "↺", "Rolling back", "warn"),
    "RESUME_FAILED": Face("bang", "!", "Resuming failed", "bad"),
}


def face(state: str) -> Face:
    """The face of a standing, verdict, outcome, run state, condition status or kind of event."""
    return STANDING_FACES.get(state) or _OTHER_FACES.get(state) or Face("circle", "○", state, "calm")


@lru_cache(maxsize=128)
def badge(state: str) -> Markup:
    """A state's face as HTML; kept, because a list shows the same few thousands of times."""
    look = face(state)
    form = '<span class="badge {}"><svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>{}</span>'
    return Markup(form).format(look.tone, look.symbol, look.label)  # noqa: S704 - a constant, values are escaped


def condition_face(type_: str, status: str) -> Face:
    """A condition's face: that Reconciling or Suspended is true is no success, that Stalled is true is worse."""
    if status == "True" and type_ in ("Reconciling", "Suspended", "Stalled"):
        known = STANDING_FACES[type_.lower()]
        return Face(known.symbol, known.mark, "True", known.tone)
    return face(status)


def moment(then: float | None, now: float) -> Markup:
    """A `<time>`: relative to read, absolute to be exact; `never` where there is none."""
    if then is None:
        return Markup('<span class="quiet">never</span>')
    exact = absolute(then)
    iso = exact.replace(" UTC", "Z").replace(" ", "T")
    text = f'<time datetime="{iso}" title="{exact}">{relative(then, now)}</time>'
    return Markup(text)  # noqa: S704 - made of numbers only; Markup.format would cost ten times as much


def absolute(then: float) -> str:
    """`2026-01-31 12:00:00 UTC`; what no calendar has is shown as its number."""
    try:
        return datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(then)


def relative(then: float, now: float) -> str:
    """`just now`, `12 s ago`, `3 min ago`, `in 2 h`, `5 d ago`. live.js counts on in the same words."""
    seconds = abs(now - then)
    if seconds < 5:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            amount = f"{int(seconds // size)} {unit}"
            return f"in {amount}" if then > now else f"{amount} ago"
    return "just now"


def duration(seconds: float) -> str:
    """`0.4s`, `3m20s`."""
    return format_duration(seconds) if seconds >= SAME_MOMENT else "0s"


def resource_url(ref: ResourceRef) -> str:
    """The page of a resource."""
    return f"/resources/{quote(ref.kind, safe='')}/{quote(ref.name, safe='')}"


def value(shown: Any) -> str:
    """One side of a difference: text as it is, everything else as JSON-like YAML, None as `(absent)`."""
    if shown is None:
        return "(absent)"
    text = shown if isinstance(shown, str) else as_yaml(shown).strip().removesuffix("\n...")
    return shorten(text, LONGEST_VALUE) if text else '""'


def as_yaml(shown: Any) -> str:
    """Plain data the way people write it."""
    return yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def shorten(text: str, longest: int) -> str:
    """The text, or its beginning and how much is left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest:,} more characters)"


def words(name: str) -> str:
    """A name of the code as people write it: `createTimeout` → `Create timeout`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced[:1].upper() + spaced[1:]


def cut(text: str, longest: int) -> str:
    """The text, or its beginning and an ellipsis: for a drawing, whose title says it whole."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def per_cent(part: float) -> str:
    """`40 %`; 100 only when it is."""
    return f"{int(part)} %"


def labels(found: Mapping[str, str]) -> Markup:
    """Labels as small marks."""
    shown = " ".join(f'<span class="label">{escape(f"{name}={value}")}</span>' for name, value in found.items())
    return Markup(shown)  # noqa: S704 - every value was escaped


@dataclass(frozen=True, slots=True)
class Bar:
    """A step as a bar on its change's time, in percent of that time."""

    step: StepView
    start: float
    width: float


def bars(change: ChangeView) -> list[Bar]:
    """The steps of a change on one scale; what took no time is still to be seen."""
    ends = [change.started_at + change.duration, *(step.started_at + step.duration for step in change.steps)]
    whole = max(max(ends) - change.started_at, 0.001)
    found = []
    for step in change.steps:
        start = min(max((step.started_at - change.started_at) / whole * 100, 0.0), 99.0)
        found.append(Bar(step, round(start, 2), round(min(max(step.duration / whole * 100, 1.0), 100 - start), 2)))
    return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """A step of an upgrade on its time. start, width: in percent of that time; seconds: None before it began."""

    step: Mapping[str, Any]
    state: str
    start: float = 0.0
    width: float = 0.0
    seconds: float | None = None


def timeline(upgrade: Mapping[str, Any], now: float) -> list[Stretch]:
    """The steps of a pair's upgrade on one scale, which ends now while it runs; what took no time is still seen."""
    begun, end = upgrade["startedAt"], upgrade["endedAt"] or now
    return [_stretch(step, begun, end, is_over=upgrade["endedAt"] is not None) for step in upgrade["steps"]]


def _stretch(step: Mapping[str, Any], begun: float, end: float, *, is_over: bool) -> Stretch:
    state = step["status"].lower()
    if state == "running" and is_over:
        state = "interrupted"
    if step["startedAt"] is None:
        return Stretch(step, "not_yet" if state == "pending" else state)
    whole = max(end - begun, 0.001)
    seconds = max((step["endedAt"] or end) - step["startedAt"], 0.0)
    start = min(max((step["startedAt"] - begun) / whole * 100, 0.0), 99.0)
    width = min(max(seconds / whole * 100, 1.0), 100 - start)
    return Stretch(step, state, round(start, 2), round(width, 2), seconds)


def advice(view: ResourceView) -> tuple[str, str]:
    """What somebody who is worried should do: a sentence, and the command for it ("" where there is none)."""
    ref = shlex.quote(str(view.ref))
    if view.standing == "blocked" and view.reason in ("NeedsApproval", "ReplaceForbidden"):
        return "Look at what would be changed, then approve it:", f"reconciler approve {ref}"
    sentences: Mapping[str, tuple[str, str]] = {
        "stalled": (f"It is not tried again before its document changes: {view.place}", ""),
        "failed": ("It is tried again by itself. What it said:", f"reconciler logs {ref}"),
        "unknown": ("Nothing is changed while it cannot be looked at. Look again now:", f"reconciler reconcile {ref}"),
        "blocked": ("A guard holds it back. The whole story:", f"reconciler plan --limit {ref}"),
        "overdue": ("Its suspension has outlived its time. Let it go on:", f"reconciler resume {ref}"),
        "vanished": (
            "Put its document back to keep it, or delete it:",
            f"reconciler apply --prune --limit {ref}",
        ),
        "drifted": ("Its mode leaves the difference alone. What differs:", f"reconciler diff --limit {ref}"),
    }
    return sentences.get(view.standing, ("", ""))


def matches(view: ResourceView, terms: Sequence[str]) -> bool:
    """True when every term stands somewhere in what the list shows of a resource, upper or lower case alike."""
    shown = " ".join(
        (str(view.ref), view.standing, view.reason, view.message, view.place, *map("=".join, view.labels.items()))
    ).lower()
    return all(term in shown for term in terms)


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, and no aliases: people read this, nothing loads it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
