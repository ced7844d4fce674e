"""Statuses: what a pass found is stored whole, and what it did not find out is left alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.model.condition import Condition
from reconciler.model.resource import ResourceRef
from reconciler.store import remembered, statuses
from reconciler.store.database import Database
from reconciler.store.statuses import StatusUpdate
from reconciler.store.tables import statuses as table

ONE, TWO = ResourceRef("Entry", "one"), ResourceRef("Entry", "two")


@pytest.fixture
def known(database: Database) -> Database:
    with database.write() as connection:
        for ref in (ONE, TWO):
            database.upsert(connection, table, ref._asdict(), {"message": "", "conditions": "[]", "drift": "[]"})
    return database


def write(database: Database, *updates: StatusUpdate, now: float = 5.0) -> None:
    with database.write() as connection:
        statuses.write(connection, updates, now)


def ready(status: str = "True", reason: str = "AsDesired", message: str = "as desired") -> Condition:
    return Condition("Ready", status, reason, message, 2, 4.0)  # type: ignore[arg-type]


def load(database: Database, refs: Iterable[ResourceRef] | None = None) -> dict[ResourceRef, statuses.Status]:
    with database.read() as connection:
        return statuses.load(connection, None if refs is None else list(refs))


def column(database: Database, name: str, ref: ResourceRef = ONE) -> Any:
    with database.read() as connection:
        return connection.execute(select(table.c[name]).where(table.c.name == ref.name)).scalar_one()


def test_what_was_written_is_read_again(known: Database) -> None:
    conditions = (ready("False", "Failed", "no"), Condition("Stalled", "True", "Failed", "no", 2, 4.0))
    drift = (("spec.a", 1, {"b": [2]}), ("spec.p", "***", None))
    entry = StatusUpdate(
        ONE, conditions, 2, drift, failures=3, checked_at=6.0, handled_at="token", pending={"why": "x"}
    )
    write(known, entry)
    status = load(known)[ONE]
    assert status.conditions == conditions
    assert status.condition("Stalled") == conditions[1]
    assert status.condition("Suspended") is None
    assert (status.observed_generation, status.failures, status.checked_at, status.handled_at) == (2, 3, 6.0, "token")
    assert tuple((path, before, after) for path, before, after, *_ in status.drift) == drift
    assert status.pending == {"why": "x"}
    assert column(known, "ready") == "False"
    assert column(known, "reason") == "Failed"
    assert load(known)[TWO].conditions == ()


def test_what_an_update_does_not_know_stays(known: Database) -> None:
    write(
        known,
        StatusUpdate(
            ONE, (ready(),), 1, checked_at=6.0, handled_at="t", applied={"a": 1}, protected=True, touched=True
        ),
    )
    write(known, StatusUpdate(ONE, (ready("False"),), 2), now=9.0)
    status = load(known)[ONE]
    assert (status.checked_at, status.handled_at, status.applied_at) == (6.0, "t", 5.0)
    assert (column(known, "applied"), column(known, "protected"), column(known, "touched")) == ('{"a":1}', 1, 1)


def test_applied_can_be_taken_back(known: Database) -> None:
    write(known, StatusUpdate(ONE, (ready(),), 1, applied={"a": 1}, touched=True))
    write(known, StatusUpdate(ONE, (ready(),), 1, applied=None, touched=False))
    assert (column(known, "applied"), column(known, "touched")) == (None, 0)


def test_many_with_different_columns_are_written_in_one_pass(known: Database) -> None:
    write(
        known,
        StatusUpdate(ONE, (ready(),), 1, applied={"a": 1}),
        StatusUpdate(TWO, (ready("False", "Failed"),), 7, failures=1),
    )
    found = load(known, [ONE, TWO])
    assert (found[ONE].applied_at, found[TWO].observed_generation, found[TWO].failures) == (5.0, 7, 1)


def test_checked_is_marked_for_just_those(known: Database) -> None:
    with known.write() as connection:
        statuses.mark_checked(connection, [ONE], 8.0)
        statuses.mark_checked(connection, [], 9.0)
    assert (load(known)[ONE].checked_at, load(known)[TWO].checked_at) == (8.0, None)


def test_thousands_are_read_and_marked(database: Database) -> None:
    refs = [ResourceRef(kind, f"n{number}") for kind in ("Entry", "Cluster") for number in range(1000)]
    with database.write() as connection:
        rows = [{**ref._asdict(), "message": "", "conditions": "[]", "drift": "[]"} for ref in refs]
        database.upsert_many(connection, table, ("kind", "name"), rows)
        statuses.mark_checked(connection, refs[:1500], 8.0)
    found = load(database, refs[400:])
    assert len(found) == 1600
    assert sum(status.checked_at == 8.0 for status in found.values()) == 1100


def test_a_request_waits_until_its_very_token_was_handled(known: Database) -> None:
    with known.write() as connection:
        statuses.request(connection, ONE, "a")
    with known.read() as connection:
        assert statuses.requested(connection) == {ONE: "a"}
    write(known, StatusUpdate(ONE, (ready(),), 1, handled_at="older"))
    with known.read() as connection:
        assert statuses.requested(connection) == {ONE: "a"}
    write(known, StatusUpdate(ONE, (ready(),), 1, handled_at="a"))
    with known.read() as connection:
        assert statuses.requested(connection) == {}


def test_suspending_says_who_why_and_until_when(known: Database) -> None:
    with known.write() as connection:
        statuses.suspend(connection, ONE, "debugging", "ann", (5.0, 9.0))
    assert load(known)[ONE].suspend == {"reason": "debugging", "by": "ann", "since": 5.0, "until": 9.0}
    with known.read() as connection:
        assert statuses.overdue_suspensions(connection, 8.0) == {}
        assert set(statuses.overdue_suspensions(connection, 10.0)) == {ONE}
    with known.write() as connection:
        assert statuses.resume(connection, ONE)
        assert not statuses.resume(connection, ONE)
    assert load(known)[ONE].suspend is None


def test_an_approval_names_the_change_and_may_be_given_twice(known: Database) -> None:
    with known.write() as connection:
        for _ in range(2):
            statuses.approve(known, connection, ONE, "f", "ann")
        statuses.approve(known, connection, TWO, "g", "ann")
    with known.read() as connection:
        assert remembered.approved(connection) == {(ONE, "f"), (TWO, "g")}
    with known.write() as connection:
        statuses.drop_approvals(connection, ONE)
    with known.read() as connection:
        assert remembered.approved(connection) == {(TWO, "g")}
