"""Desired state beside what the store remembers: generations, what vanished, and who owns what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from reconciler.model.digest import digest
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.secret import Secret, SpecFile
from reconciler.store import remembered, resources
from reconciler.store.database import Database
from reconciler.store.remembered import Desired, Scope
from reconciler.store.resources import Recording
from reconciler.store.tables import resources as table
from reconciler.store.tables import statuses

KEY = b"k" * 32
RECORDING = Recording(KEY, lambda resource: resource.lifecycle.depends_on)
SPECS = Scope(("file:specs/", "api"))
MARKER = "hunter2-marker"


@pytest.fixture(params=["", "?timeout=10"], ids=["plain", "sqlalchemy"])
def database(request: pytest.FixtureRequest, database_file: Path) -> Iterator[Database]:
    """Read through the driver, and read through SQLAlchemy, as every store is that is no plain file."""
    opened = Database(f"sqlite:///{database_file}{request.param}")
    yield opened
    opened.close()


def ref(name: str) -> ResourceRef:
    return ResourceRef("Entry", name)


def wants(name: str, owner: str = "file:specs/a.yaml", size: int = 1, **values: Any) -> Resource:
    spec = values.pop("spec", {"size": size})
    values.setdefault("digest", digest({"size": size, "name": name}))
    return Resource(ref(name), spec, source=Source(owner, 3, 1), **values)


def merge(database: Database, wanted: Iterable[Resource], scope: Scope = SPECS, refs: Any = None) -> Desired:
    with database.reading() as connection:
        return remembered.merge(connection, {one.ref: one for one in wanted}, scope, refs)


def load(database: Database, *wanted: Resource, scope: Scope = SPECS, refs: Any = None) -> Desired:
    """Merge, and record what came out."""
    merged = merge(database, wanted, scope, refs)
    with database.write() as connection:
        resources.record(database, connection, merged, RECORDING)
    return merged


def rows(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {row.name: row for row in connection.execute(select(table))}


def set_status(database: Database, name: str, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(update(statuses).where(statuses.c.name == name).values(values))


def test_a_new_resource_has_generation_one_and_a_blank_status(database: Database) -> None:
    merged = load(database, wants("one"))
    assert merged.changed == {ref("one")}
    assert merged.resources[ref("one")].generation == 1
    with database.reading() as connection:
        record = remembered.load_records(connection)[ref("one")]
    assert (record.applied, record.touched, record.ready, record.vanished) == (None, False, False, False)


def test_merging_writes_nothing(database: Database) -> None:
    merge(database, [wants("one")])
    assert rows(database) == {}


def test_the_generation_rises_exactly_when_the_digest_changed(database: Database) -> None:
    load(database, wants("one"))
    assert load(database, wants("one")).changed == frozenset()
    again = load(database, wants("one", size=2))
    assert (again.changed, again.resources[ref("one")].generation) == ({ref("one")}, 2)
    assert load(database, wants("one")).resources[ref("one")].generation == 3


def test_row_0_10_upsert_keeps_states(database: Database) -> None:
    """Writing a resource again leaves alone when it was made and all that is known of its state."""
    load(database, wants("one"))
    before = rows(database)["one"]
    set_status(database, "one", applied='{"size":1}', touched=1, protected=1, ready="True", observed_generation=1)
    with database.write() as connection:
        connection.execute(update(table).values(created_at=1.0, updated_at=1.0))
    load(database, wants("one", size=2))
    after = rows(database)["one"]
    assert after.created_at == 1.0
    assert after.updated_at >= before.updated_at
    with database.reading() as connection:
        record = remembered.load_records(connection, [ref("one")])[ref("one")]
    assert (record.applied, record.touched, record.protected, record.ready) == ({"size": 1}, True, True, True)


def test_what_a_source_no_longer_names_vanished_with_its_reason(database: Database) -> None:
    load(database, wants("one"), wants("two"))
    merged = load(database, wants("one"), scope=Scope(("file:specs/",), revision="0123456789abcdef"))
    assert merged.vanished == {ref("two"): "specs/a.yaml no longer has it (0123456789ab)"}
    assert ref("two") not in merged.resources
    assert merged.records[ref("two")].vanished
    again = load(database, wants("one"))
    assert again.vanished == {}, "it vanished once"
    assert again.records[ref("two")].vanished_why == "specs/a.yaml no longer has it (0123456789ab)"
    assert again.resources.keys() == {ref("one")}


def test_what_comes_back_is_wanted_again(database: Database) -> None:
    load(database, wants("one"))
    load(database)
    merged = load(database, wants("one"))
    assert (merged.changed, merged.resources[ref("one")].generation) == ({ref("one")}, 1)
    assert not merged.records[ref("one")].vanished
    assert rows(database)["one"].vanished_at is None


def test_a_source_says_nothing_about_what_others_own(database: Database) -> None:
    load(database, wants("one"), wants("theirs", owner="file:elsewhere/b.yaml"), scope=Scope(("file:",)))
    merged = load(database, wants("one"))
    assert merged.vanished == {}
    assert merged.resources[ref("theirs")].source.owner == "file:elsewhere/b.yaml"


@pytest.mark.parametrize(
    "scope",
    [
        Scope(("file:specs/",), broken=frozenset({"file:specs/a.yaml"})),
        Scope(("file:specs/",), broken=frozenset({"file:specs/b.yaml"})),
        Scope(("api",)),
        Scope(()),
    ],
    ids=["its file is broken", "it may have moved into a broken file", "the folder could not be read", "nothing could"],
)
def test_nothing_vanishes_where_absence_proves_nothing(database: Database, scope: Scope) -> None:
    load(database, wants("one"))
    merged = load(database, scope=scope)
    assert merged.vanished == {}
    assert merged.resources[ref("one")].spec == {"size": 1}


def test_a_resource_may_move_between_the_files_of_a_source(database: Database) -> None:
    load(database, wants("one"))
    merged = load(database, wants("one", owner="file:specs/b.yaml"))
    assert merged.conflicts == ()
    assert rows(database)["one"].owner == "file:specs/b.yaml"
    assert rows(database)["one"].generation == 1


def test_what_somebody_else_owns_stays_theirs_and_both_are_named(database: Database) -> None:
    load(database, wants("one", owner="file:elsewhere/b.yaml"), scope=Scope(("file:",)))
    merged = load(database, wants("one", size=2))
    (conflict,) = merged.conflicts
    assert (conflict.owner, conflict.wanted_by.owner) == ("file:elsewhere/b.yaml", "file:specs/a.yaml")
    assert merged.resources[ref("one")].spec == {"size": 1}
    assert merged.changed == frozenset()
    assert rows(database)["one"].owner == "file:elsewhere/b.yaml"


def test_a_file_that_is_broken_now_keeps_what_another_wants(database: Database) -> None:
    load(database, wants("one"))
    broken = Scope(("file:specs/",), broken=frozenset({"file:specs/a.yaml"}))
    merged = load(database, wants("one", owner="file:specs/b.yaml"), scope=broken)
    assert [conflict.owner for conflict in merged.conflicts] == ["file:specs/a.yaml"]


def test_what_vanished_may_be_taken_over_by_anybody(database: Database) -> None:
    load(database, wants("one", owner="file:elsewhere/b.yaml"), scope=Scope(("file:",)))
    load(database, scope=Scope(("file:elsewhere/",)))
    merged = load(database, wants("one"))
    assert merged.conflicts == ()
    assert rows(database)["one"].owner == "file:specs/a.yaml"


def test_only_some_rows_can_be_looked_at(database: Database) -> None:
    load(database, wants("one"), wants("two"), wants("three"))
    merged = load(database, wants("one", size=2), refs={ref("one"), ref("two")})
    assert (merged.changed, set(merged.vanished)) == ({ref("one")}, {ref("two")})
    assert ref("three") not in merged.records


def test_secrets_and_files_are_stored_as_digests(database: Database, database_file: Any) -> None:
    spec = {"password": Secret(MARKER, "env:P"), "manifest": SpecFile("m.yaml", "ab" * 32, MARKER)}
    load(database, wants("one", spec=spec))
    stored = rows(database)["one"].spec
    assert Secret(MARKER, "x").keyed_digest(KEY) in stored
    assert MARKER not in stored
    database.close()
    assert MARKER.encode() not in b"".join(path.read_bytes() for path in database_file.parent.glob("reconciler.db*"))


def test_what_it_needs_is_stored_with_it(database: Database) -> None:
    load(database, wants("one", lifecycle=Lifecycle(depends_on=(ref("base"),))))
    assert rows(database)["one"].needs == '["Entry/base"]'


def test_a_stored_resource_is_read_as_it_was_written(database: Database) -> None:
    lifecycle = Lifecycle(depends_on=(ref("base"),), deletion="protect", ignore=("spec.a",), interval=9.0)
    written = wants("one", lifecycle=lifecycle, labels={"env": "dev"})
    load(database, written)
    with database.reading() as connection:
        record = remembered.load_records(connection, [ref("one")])[ref("one")]
    read = record.resource
    assert (read.spec, read.labels, read.lifecycle, read.digest) == (
        {"size": 1},
        {"env": "dev"},
        lifecycle,
        written.digest,
    )
    assert str(read.source) == "specs/a.yaml:3:1"


def put(database: Database, resource: Resource) -> int:
    document = {"kind": "Entry", "metadata": {"name": resource.ref.name}, "spec": dict(resource.spec)}
    with database.write() as connection:
        return resources.put_document(database, connection, resource, document, RECORDING)


def test_a_document_of_the_api_is_kept_as_it_was_given(database: Database) -> None:
    assert put(database, wants("one", owner="api")) == 1
    assert put(database, wants("one", owner="api")) == 1
    assert put(database, wants("one", owner="api", size=2)) == 2
    with database.read() as connection:
        documents = remembered.documents(connection)
        assert resources.owner_of(connection, ref("one")) == "api"
        assert resources.owner_of(connection, ref("nobody")) is None
        assert remembered.living(connection) == [ref("one")]
    assert documents[ref("one")]["spec"] == {"size": 2}


def test_what_the_api_withdraws_vanished_and_can_be_forgotten(database: Database) -> None:
    put(database, wants("one", owner="api"))
    with database.write() as connection:
        resources.withdraw(database, connection, ref("one"), "deleted by ann")
        assert remembered.documents(connection) == {}
        assert resources.owner_of(connection, ref("one")) is None
        assert remembered.load_records(connection)[ref("one")].vanished_why == "deleted by ann"
        resources.forget(connection, ref("one"))
        assert remembered.load_records(connection) == {}
        assert connection.execute(select(statuses)).all() == []


def test_waiting_deletes_are_counted_over_the_whole_store(database: Database) -> None:
    absent = Lifecycle(state="absent")
    load(
        database,
        *(wants(name) for name in ("kept", "gone", "guarded")),
        *(wants(name, lifecycle=absent) for name in ("off", "never", "held")),
    )
    load(database, wants("kept"), *(wants(name, lifecycle=absent) for name in ("off", "never", "held")))
    set_status(database, "guarded", protected=1)
    set_status(database, "off", touched=1)
    set_status(database, "kept", touched=1)
    set_status(database, "held", touched=1, protected=1)
    with database.reading() as connection:
        waiting = remembered.pending_destroys(connection)
    assert (waiting.vanished, waiting.absent) == (1, 1)


def test_by_hand_suspended_is_part_of_what_is_remembered(database: Database) -> None:
    load(database, wants("one"), wants("two"))
    set_status(database, "one", suspend_since=5.0, suspend_reason="debugging")
    set_status(database, "two", suspend_since=5.0, suspend_reason="")
    with database.reading() as connection:
        records = remembered.load_records(connection)
    assert (records[ref("one")].suspended, records[ref("two")].suspended) == ("debugging", "suspended by hand")


def test_a_row_without_a_status_is_read_all_the_same(database: Database) -> None:
    load(database, wants("one"))
    with database.write() as connection:
        connection.execute(statuses.delete())
    with database.reading() as connection:
        record = remembered.load_records(connection)[ref("one")]
    assert (record.ready, record.observed_generation, record.suspended) == (False, 0, "")


def test_thousands_are_merged_and_looked_up(database: Database) -> None:
    many = [wants(f"n{number}") for number in range(1500)]
    assert len(load(database, *many).changed) == 1500
    with database.reading() as connection:
        assert len(remembered.load_records(connection, [one.ref for one in many[:900]])) == 900
    assert load(database, *many).changed == frozenset()


def test_the_statement_that_inserts_is_the_same_for_new_and_known(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            insert(statuses).values(kind="Entry", name="one", message="", conditions="[]", drift="[]", touched=1)
        )
    load(database, wants("one"))
    with database.reading() as connection:
        assert remembered.load_records(connection)[ref("one")].touched, "a status that was there is kept"
