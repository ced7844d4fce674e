"""Events: in order, for one resource or all, from a point on, and no more than are kept."""

from __future__ import annotations

from reconciler.model.resource import ResourceRef
from reconciler.store import events
from reconciler.store.database import Database
from reconciler.store.events import Event

ONE, TWO = ResourceRef("Entry", "one"), ResourceRef("Entry", "two")


def happened(database: Database, *texts: str, ref: ResourceRef | None = ONE) -> None:
    with database.write() as connection:
        events.add(connection, 7.0, [Event("warning", "Happened", text, ref, "ann", 3) for text in texts])


def listed(database: Database, **values: object) -> list[str]:
    with database.read() as connection:
        return [event.message for event in events.listed(connection, **values)]  # type: ignore[arg-type]


def test_the_newest_are_listed_oldest_first(database: Database) -> None:
    happened(database, "a", "b", "c")
    happened(database, "d", ref=TWO)
    happened(database, "e", ref=None)
    assert listed(database) == ["a", "b", "c", "d", "e"]
    assert listed(database, limit=2) == ["d", "e"]
    assert listed(database, ref=ONE, limit=2) == ["b", "c"]


def test_a_tail_goes_on_after_what_it_saw(database: Database) -> None:
    assert listed(database, after=0) == []
    happened(database, "a", "b")
    with database.read() as connection:
        last = events.last_id(connection)
    assert listed(database, after=last) == []
    happened(database, "c")
    assert listed(database, after=last) == ["c"]


def test_an_event_is_read_as_it_was_written(database: Database) -> None:
    happened(database, "a")
    happened(database, "b", ref=None)
    with database.read() as connection:
        one, other = events.listed(connection)
    assert one == Event("warning", "Happened", "a", ONE, "ann", 3, one.id, 7.0)
    assert one.to_json() == {
        "id": one.id,
        "at": 7.0,
        "type": "warning",
        "resource": "Entry/one",
        "reason": "Happened",
        "message": "a",
        "actor": "ann",
        "run": 3,
    }
    assert other.ref is None
    assert other.to_json()["resource"] is None


def test_only_the_newest_are_kept(database: Database) -> None:
    happened(database, *"abcdefg")
    with database.write() as connection:
        assert events.trim(connection, keep=3) == 4
        assert events.trim(connection, keep=3) == 0
    assert listed(database) == list("efg")


def test_nothing_happened_is_nothing_written(database: Database) -> None:
    happened(database)
    with database.read() as connection:
        assert events.last_id(connection) == 0
