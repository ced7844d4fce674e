"""What a kind is given: while it looks it can change nothing, while it works it stops when it has to."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from inside import Inside
from place import Place, living, wait_for
from probe import Hearing, Probe, document
from sqlalchemy import update

from reconciler.errors import LeaseLostError, TerminalError, WaitingError
from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.secret import Secret
from reconciler.store.tables import leases

Opened = Callable[..., Inside]


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def engine(place: Place, opened: Opened, probe: Probe) -> Inside:
    place.write("a.yaml", document())
    return opened(kinds=[probe], lease_ttl=0.6)


def take_over(engine: Inside) -> None:
    with engine.runtime.database.write() as connection:
        connection.execute(update(leases).values(epoch=99, owner="somebody"))


def test_looking_has_no_lease_no_step_and_no_write(place: Place, engine: Inside, probe: Probe) -> None:
    refused: list[str] = []
    given: dict[str, Any] = {}

    def look(resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        context.progress(50.0, "x")
        context.log("x")
        context.alarm("X", "x")
        given.update(resource=context.resource, change=context.change, home=context.home, deadline=context.deadline)
        try:
            context.records.put("entries", {"name": "a"}, {"number": 1})
        except TerminalError as error:
            refused.append(error.reason)
        return probe.see(resources, context)

    probe.look = look
    engine.plan()
    assert refused[0] in ("ReadOnly", "UnknownTable")
    assert given == {"resource": None, "change": None, "home": place.home, "deadline": 30.0}
    assert place.rows("SELECT * FROM step_logs") == place.rows("SELECT * FROM events") == []


def test_a_kind_gets_its_own_settings_and_the_homes_digests(place: Place, opened: Opened, probe: Probe) -> None:
    place.write("a.yaml", document())
    engine = opened(kinds=[probe])
    sections = {**engine.runtime.settings.kinds, "Probe": {"colour": "red"}}
    engine.runtime.settings = dataclasses.replace(engine.runtime.settings, kinds=sections)
    seen: list[Any] = []

    def write(context: Context) -> None:
        seen.append((dict(context.settings), context.digest_of(Secret("x", "env:X"))))
        assert abs(context.now() - time.time()) < 60
        probe.write(context)

    probe.script = [Step("write", "Write", write)]
    engine.apply()
    assert seen == [({"colour": "red"}, Secret("x", "").keyed_digest(engine.runtime.key))]


def test_waiting_ends_at_once_when_the_process_has_to_stop(engine: Inside, probe: Probe) -> None:
    started = threading.Event()

    def write(context: Context) -> None:
        started.set()
        context.sleep(3600)

    probe.script = [Step("write", "Write", write)]
    threading.Thread(target=lambda: started.wait() and engine.runtime.stopping.set()).start()
    result = engine.apply()["one"]
    assert (result.verdict, result.reason) == ("failed", "ShuttingDown")


def test_waiting_ends_at_once_when_the_lease_is_lost_and_nothing_more_is_written(
    place: Place, engine: Inside, probe: Probe
) -> None:
    started = threading.Event()
    caught: list[Exception] = []

    def write(context: Context) -> None:
        started.set()
        try:
            context.sleep(3600)
        except LeaseLostError as error:
            caught.append(error)
            raise

    probe.script = [Step("write", "Write", write), Step("more", "More", probe.write)]
    threading.Thread(target=lambda: started.wait() and take_over(engine)).start()
    hearing = Hearing()
    result = engine.apply(listener=hearing)["one"]
    assert (result.verdict, result.reason, len(caught)) == ("unknown", "LeaseLost", 1)
    assert place.rows("SELECT name, outcome FROM steps") == [{"name": "write", "outcome": "open"}]
    assert place.rows("SELECT verdict FROM changes") == [{"verdict": ""}]
    assert hearing.heard[-1] == "end one unknown"


def test_a_child_process_is_journalled_while_it_runs_and_ended_when_the_lease_is_lost(
    place: Place, engine: Inside, probe: Probe
) -> None:
    def write(context: Context) -> None:
        context.process.run(["sleep", "3600"], timeout=3600.0)

    probe.script = [Step("write", "Write", write)]
    found: list[int] = []

    def watch() -> None:
        (row,) = wait_for(lambda: place.rows("SELECT pgid, argv FROM processes"))
        found.append(row["pgid"])
        assert row["argv"] == "sleep 3600"
        wait_for(lambda: living(found))
        take_over(engine)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = engine.apply()["one"]
    watcher.join()
    assert result.reason == "LeaseLost"
    assert living(found) == []


def test_what_a_child_prints_is_the_steps_log_and_the_child_is_forgotten(
    place: Place, engine: Inside, probe: Probe
) -> None:
    def write(context: Context) -> None:
        assert context.process.run(["echo", "hello"], timeout=60.0).returncode == 0
        assert len(place.rows("SELECT * FROM processes")) == 1
        probe.write(context)

    probe.script = [Step("write", "Write", write)]
    assert engine.apply()["one"].verdict == "changed"
    assert place.rows("SELECT text FROM step_logs") == [{"text": "hello\n"}]
    assert place.rows("SELECT * FROM processes") == []


def test_progress_is_written_now_and_then_and_heard_always(place: Place, engine: Inside, probe: Probe) -> None:
    writes: list[int] = []

    def write(context: Context) -> None:
        before = engine.runtime.database.write

        def counting() -> Any:
            writes.append(1)
            return before()

        engine.runtime.database.write = counting  # type: ignore[method-assign]
        for percent in range(100):
            context.progress(float(percent), "going")
        context.progress(5.0, "back")
        engine.runtime.database.write = before  # type: ignore[method-assign]
        probe.write(context)

    probe.script = [Step("write", "Write", write)]
    hearing = Hearing()
    engine.apply(listener=hearing)
    assert len(writes) < 20
    heard = [float(text.split()[1]) for text in hearing.heard if text.startswith("write ") and "going" in text]
    assert heard == sorted(heard)
    assert len(heard) == 100
    assert "write 99 back" in hearing.heard, "progress never falls"


def test_looking_waits_no_longer_than_the_process_lives(engine: Inside, probe: Probe) -> None:
    def look(resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        context.sleep(3600)
        return {}

    probe.look = look
    threading.Timer(0.2, engine.runtime.stopping.set).start()
    (change,) = engine.plan().plan.changes
    assert change.obstacle is not None
    assert change.obstacle.message == WaitingError("x", "the reconciler is shutting down").message
