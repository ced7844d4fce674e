"""Changes whose process died, or was told to stop, and that are to be gone on with. Reads only, in plain SQL.

Of kinds whose `recovery` is `continue`. Asked by a dry run, by the executor before it goes on, and by `journal`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.resource import ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store.owners import has_ended
from reconciler.store.reading import Row, rows

if TYPE_CHECKING:
    from reconciler.store.reading import Readable


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A change whose process died, or was told to stop, and that is to be continued.

    planned: as it was given to `start_change`. outcomes: of the steps that were begun, in the order in which they were
    begun last; outputs: what they returned; messages: what was said of them. begun: how many rows of steps it has.
    """

    change_id: int
    ref: ResourceRef
    planned: Mapping[str, Any]
    outcomes: Mapping[str, StepOutcome]
    outputs: Mapping[str, Mapping[str, Any]]
    messages: Mapping[str, str]
    begun: int


_OPEN = """
    SELECT id, kind, name, planned FROM changes WHERE verdict = '' AND planned IS NOT NULL AND {which} ORDER BY id
"""
_BEGUN = "SELECT name, outcome, outputs, message FROM steps WHERE change_id = :change_id ORDER BY sequence"
_HELD = "SELECT name, boot_id, pid, pid_start FROM leases WHERE owner != ''"


def unfinished(connection: Readable, ref: ResourceRef) -> Unfinished | None:
    """The change of a resource that is to be continued, None when there is none."""
    found = _unfinished(connection, "kind = :kind AND name = :name", **ref._asdict())
    return found[-1] if found else None


def is_unfinished(connection: Readable, change_id: int) -> bool:
    """Whether a change is one that is to be continued."""
    return bool(_unfinished(connection, "id = :id", id=change_id))


def waiting_to_go_on(connection: Readable) -> dict[ResourceRef, str]:
    """Resources with a change that is to be continued and that nobody works on now, and the step at which it stands."""
    open_ones = {str(one.ref): one for one in _unfinished(connection, "1 = 1")}
    if not open_ones:
        return {}
    holders = (row for row in rows(connection, _HELD) if row["name"] in open_ones)
    held = {row["name"] for row in holders if not has_ended(row["boot_id"], row["pid"], row["pid_start"])}
    return {
        one.ref: next(reversed(list(one.outcomes)), "the first step")
        for name, one in open_ones.items()
        if name not in held
    }


def _unfinished(connection: Readable, which: str, **values: Any) -> list[Unfinished]:
    found: list[Unfinished] = []
    for row in rows(connection, _OPEN.format(which=which), **values):
        begun = rows(connection, _BEGUN, change_id=row["id"])
        last: dict[str, Row] = {}
        for step in begun:
            last.pop(step["name"], None)  # one that was begun again stands where it was begun last
            last[step["name"]] = step
        outcomes = {name: StepOutcome(step["outcome"]) for name, step in last.items()}
        outputs = {name: json.loads(step["outputs"]) for name, step in last.items()}
        messages = {name: step["message"] for name, step in last.items() if step["message"]}
        ref, planned = ResourceRef(row["kind"], row["name"]), json.loads(row["planned"])
        found.append(Unfinished(row["id"], ref, planned, outcomes, outputs, messages, len(begun)))
    return found
