"""Storing what a pass found: status, events and the end of a change in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection

from reconciler.engine.keeping import keep_seen
from reconciler.engine.runtime import Runtime
from reconciler.engine.status import Outcome, status_update
from reconciler.model.plan import Action, Change
from reconciler.model.resource import RECORD_OWNER, ResourceRef, State
from reconciler.model.result import Result
from reconciler.planning.diff import owned
from reconciler.store import events, journal, resources, statuses
from reconciler.store.leases import Lease
from reconciler.store.remembered import API_OWNER, load_records
from reconciler.store.statuses import Status, StatusUpdate


def record_result(
    runtime: Runtime, lease: Lease, outcome: Outcome, change_id: int | None = None, run_id: int | None = None
) -> None:
    """Store how a change ended, under its lease. change_id: None when no step was to run."""
    result, ref = outcome.result, outcome.change.ref
    assert result is not None
    with lease.fenced() as connection:
        now = runtime.database.now(connection)
        if change_id is not None:
            journal.end_change(connection, change_id, result.verdict, result.reason, result.message, now)
        previous = statuses.load(connection, [ref]).get(ref)
        update = status_update(previous, outcome, now)
        update = _with_applied(update, result, changed=result.verdict == "changed")
        statuses.write(connection, [update], now)
        event = events.Event(
            _event_type(result.verdict in ("ok", "changed")),
            result.reason,
            result.message,
            ref,
            runtime.owner.holder,
            run_id,
        )
        events.add(connection, now, [event, *transitions(previous, update, runtime.owner.holder)])
        keep_seen(runtime, connection, [outcome])
        if _is_over(connection, result):
            resources.forget(connection, ref)
            statuses.drop_approvals(connection, ref)


def record_outcomes(runtime: Runtime, outcomes: Iterable[Outcome]) -> None:
    """Store what a pass found about resources for which nothing was run. Those as before cost one statement in all."""
    found = {outcome.change.ref: outcome for outcome in outcomes}
    if not found:
        return
    with runtime.database.read() as connection:
        previous = statuses.load(connection, found)
        now = runtime.database.now(connection)
    quiet: list[ResourceRef] = []
    moved: list[StatusUpdate] = []
    gone = [outcome.change for outcome in found.values() if _is_gone(outcome.change)]
    for ref, outcome in found.items():
        before = previous.get(ref)
        update = status_update(before, outcome, now)
        if before is not None and before.observed_generation > update.observed_generation:
            continue  # another process has looked after a newer one meanwhile
        if outcome.change.action is Action.NOOP and outcome.change.obstacle is None:
            update = _adopted(update, outcome, before)
        if before is not None and _same(before, update):
            if update.checked_at is not None:
                quiet.append(ref)
        else:
            moved.append(update)
    with runtime.writing() as connection:
        statuses.mark_checked(connection, quiet, now)
        statuses.write(connection, moved, now)
        _forget_withdrawn(connection, gone)
        keep_seen(runtime, connection, found.values())
        actor = runtime.owner.holder
        events.add(
            connection, now, (event for one in moved for event in transitions(previous.get(one.ref), one, actor))
        )


def transitions(previous: Status | None, update: StatusUpdate, actor: str) -> Iterable[events.Event]:
    """One event when `Ready` changes its status or its reason: alerts hang on transitions, never on repetition."""
    ready = next((entry for entry in update.conditions if entry.type == "Ready"), None)
    before = previous.condition("Ready") if previous is not None else None
    if ready is None or (before is not None and (before.status, before.reason) == (ready.status, ready.reason)):
        return
    was = f"was {before.reason}" if before is not None else "first look"
    message = f"{ready.reason}: {ready.message} ({was})"
    yield events.Event(_event_type(ready.status == "True"), f"Ready{ready.status}", message, update.ref, actor)


def _with_applied(update: StatusUpdate, result: Result, *, changed: bool) -> StatusUpdate:
    if not changed:
        return update
    if result.change.action is Action.DELETE:
        return replace(update, applied=None, touched=False)
    return replace(update, applied=_applied(result.change))


def _adopted(update: StatusUpdate, outcome: Outcome, before: Status | None) -> StatusUpdate:
    """What is as desired without our doing counts as applied from now on, so that a field dropped later is noticed."""
    change = outcome.change
    if change.after is None or change.resource.lifecycle.mode != "enforce":
        return update
    if (
        before is not None
        and before.applied_at is not None
        and before.observed_generation == update.observed_generation
    ):
        return update
    return replace(update, applied=_applied(change), touched=True)


def _applied(change: Change) -> State:
    """What we have applied: what is left to others is not ours, also when that rule is dropped later."""
    return owned(change.after, change.resource.lifecycle.ignore)


def _same(before: Status, update: StatusUpdate) -> bool:
    return (
        before.conditions == update.conditions
        and before.observed_generation == update.observed_generation
        and before.drift == tuple(tuple(entry) for entry in update.drift)
        and before.failures == update.failures
        and (update.pending is statuses.UNCHANGED or before.pending == update.pending)
        and before.handled_at == (update.handled_at or before.handled_at)
        and update.applied is statuses.UNCHANGED
    )


def _is_gone(change: Change) -> bool:
    """Nothing of it is there, and nothing is to be."""
    is_settled = change.action is Action.NOOP and change.obstacle is None
    return is_settled and change.resource.lifecycle.state == "absent" and change.resource.source.owner == API_OWNER


def _forget_withdrawn(connection: Connection, gone: Iterable[Change]) -> None:
    """What was withdrawn before anything of it was made has nothing to be deleted, and leaves the store all the same.

    Only as long as that was the last word: it may be wanted again by now.
    """
    generations = {change.ref: change.resource.generation for change in gone}
    if not generations:
        return
    for ref, record in load_records(connection, generations).items():
        is_last = record.resource.generation == generations[ref] and record.resource.source.owner == API_OWNER
        if is_last and not record.touched and not record.vanished:
            resources.forget(connection, ref)
            statuses.drop_approvals(connection, ref)


def _is_over(connection: Connection, result: Result) -> bool:
    """What nobody wants any more and is verified to be gone leaves the store."""
    if result.change.action is not Action.DELETE or result.verdict != "changed":
        return False
    record = load_records(connection, [result.change.ref]).get(result.change.ref)
    if record is None:
        return False
    is_stored = record.resource.source.owner in (API_OWNER, RECORD_OWNER)
    withdrawn = is_stored and record.resource.lifecycle.state == "absent"
    return record.vanished or withdrawn


def _event_type(good: bool) -> Literal["normal", "warning"]:
    return "normal" if good else "warning"
