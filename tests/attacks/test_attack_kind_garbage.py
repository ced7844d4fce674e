"""Beyond the list: a kind that answers with garbage costs its own resources, never others, never the process.

Each way to be wrong gets a resource of its own; all of them and a healthy one are planned and applied together.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from place import entry, wait_for
from stage import Stage, cluster

from reconciler.model.result import VERDICTS

LEAK = "marker-of-a-rogue-7d7d"
GARBAGE = ("none", "number", "text", "list", "set", "bytes", "object", "nan", "keys", "circle", "deep", "secret",
           "surrogate", "nul", "raise")  # fmt: skip
PLACES = ("target", "normalize", "answer", "state", "unknown", "unhealthy", "pending", "steps", "name", "title",
          "preview", "weight", "run", "outputs", "log", "progress", "note", "alarm")  # fmt: skip
WITHIN_A_LOOK = ("answer", "state", "unknown", "unhealthy", "pending")
HARMLESS = {
    "target:text", "name:text", "title:text", "steps:none", "outputs:none", "outputs:nul", "unhealthy:text",
    "weight:number", "progress:number", "progress:nan", "unhealthy:nul", "state:raise",
}  # fmt: skip
"""What is no mistake after all."""
ALSO_APPLIED = {
    f"{place}:{what}" for place in ("log", "note", "alarm") for what in GARBAGE if what not in ("raise", "deep")
}


@pytest.fixture
def rogues(stage: Stage) -> Stage:
    """The rogue kind, installed beside the entry kind."""
    kinds = {"Entry": {"file": str(stage.live)}, "Rogue": {"folder": str(stage.root)}}
    stage.more = {
        "RECONCILER_PLUGINS": "entry_kind,rogue_kind",
        "RECONCILER_KINDS": json.dumps(kinds),
        "RECONCILER_OBSERVERS": "8",
    }
    return stage


def rogue(name: str, how: str) -> dict[str, Any]:
    return {"apiVersion": "reconciler.dev/v1", "kind": "Rogue", "metadata": {"name": name}, "spec": {"how": how}}


def ways() -> Iterator[tuple[str, str]]:
    """Name and `how` of every rogue."""
    for place in PLACES:
        for what in GARBAGE:
            if not (place in WITHIN_A_LOOK and what == "raise"):  # which spoils the look at all of them
                yield f"{place}-{what}", f"{place}:{what}"
    yield from (("ref", "ref:none"), ("foreign", "foreign:none"), ("twice", "twice:none"), ("long", "long:none"))


def write_rogues(stage: Stage, chosen: Iterable[tuple[str, str]]) -> None:
    stage.write("healthy.yaml", entry("healthy"))
    stage.write("rogues.yaml", *(rogue(name, how) for name, how in chosen))


def verdicts(stream: list[dict[str, Any]]) -> dict[str, str]:
    return {event["ref"]: event["verdict"] for event in stream if event["type"] == "change_ended"}


def test_every_garbage_is_a_clear_result_and_the_healthy_one_is_applied(rogues: Stage) -> None:
    write_rogues(rogues, ways())
    ran = rogues.run("apply", rogues.specs, "--yes", "-o", "json", code=None)
    assert ran.code == 3, ran.err[-3000:]
    assert "internal error" not in ran.err
    ended = verdicts(ran.stream)
    assert ended["Entry/healthy"] == "changed"
    assert rogues.there()["healthy"]["text"] == "hello"
    recap = ran.stream[-1]["targets"]
    assert sum(count for row in recap.values() for count in row.values()) == 1 + len(list(ways())), "one result each"
    assert all(set(row) == set(VERDICTS) for row in recap.values())
    stored = {row["name"]: row for row in rogues.rows("SELECT * FROM statuses WHERE kind = 'Rogue'")}
    good = {name for name, how in ways() if stored[name]["ready"] == "True"}
    expected = {name for name, how in ways() if how in HARMLESS | ALSO_APPLIED}
    assert good <= expected, sorted(good - expected)
    bad = [row for row in stored.values() if row["ready"] != "True"]
    assert all(row["reason"] and row["message"] for row in bad), "each says why"
    assert not rogues.rows("SELECT id FROM steps WHERE outcome = 'open'"), "no step is left open"
    assert not rogues.rows("SELECT id FROM changes WHERE verdict = ''"), "no change is left open"
    assert rogues.rows("SELECT state FROM runs")[0]["state"] == "partial"


@pytest.mark.parametrize("what", ["none", "raise"])
def test_a_whole_look_that_is_garbage_is_unknown(rogues: Stage, what: str) -> None:
    rogues.write("healthy.yaml", entry("healthy"))
    rogues.write("rogue.yaml", rogue("one", f"observe:{what}"), rogue("two", ""))
    ran = rogues.run("apply", rogues.specs, "--yes", "-o", "json", code=None)
    assert ran.code == 3, ran
    assert verdicts(ran.stream) == {"Entry/healthy": "changed"}
    reasons = {row["reason"] for row in rogues.rows("SELECT reason FROM statuses WHERE kind = 'Rogue'")}
    assert reasons == {"NotObserved"}
    assert not list(rogues.root.glob("rogue-*")), "nothing is changed of what could not be looked at"


@pytest.mark.parametrize("what", ["none", "raise"])
def test_references_that_are_none_are_a_problem_of_the_spec_with_its_place(rogues: Stage, what: str) -> None:
    rogues.write("healthy.yaml", entry("healthy"))
    rogues.write("rogue.yaml", rogue("one", f"references:{what}"))
    ran = rogues.run("validate", rogues.specs, code=1)
    assert "specs/rogue.yaml:" in ran.err
    assert "kind Rogue: references of Rogue/one is of no use" in ran.err
    rogues.apply("--keep-going", code=None)
    assert "healthy" in rogues.there()


def test_a_manifest_that_is_none_blocks_its_cluster_and_nothing_else(stage: Stage) -> None:
    stage.write("healthy.yaml", entry("healthy"))
    (stage.specs / "broken.manifest").write_text("kind: [\n")
    stage.write("cluster.yaml", cluster("dev", manifests=["broken.manifest"]))
    ran = stage.run("apply", stage.specs, "--yes", "-o", "json", code=3)
    assert verdicts(ran.stream) == {"Entry/healthy": "changed"}
    status = stage.run("describe", "Cluster/dev", "-o", "json").json
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready["status"] == "False"
    assert "manifests[0] (broken.manifest):2:1 is not YAML" in ready["message"]


def test_what_was_applied_stays_when_its_kind_turns_rogue(rogues: Stage) -> None:
    """The stored spec turns rogue behind everybody's back, as with a plugin's bad release, and its document goes."""
    rogues.write("healthy.yaml", entry("healthy"))
    path = rogues.write("rogue.yaml", rogue("one", ""))
    rogues.apply()
    path.unlink()
    for place in ("references", "target", "steps"):
        how = json.dumps({"how": f"{place}:raise"})
        with sqlite3.connect(rogues.database_file) as connection:
            connection.execute("UPDATE resources SET spec = ? WHERE kind = 'Rogue'", (how,))
        connection.close()
        ran = rogues.run("apply", rogues.specs, "--yes", "--prune", code=None)
        assert ran.code in (3, 6, 7), (place, ran)
        assert "internal error" not in ran.err, (place, ran)
        assert (rogues.root / "rogue-one").exists(), place


def test_the_daemon_lives_on_and_tells_of_each(rogues: Stage) -> None:
    chosen = {**dict(list(ways())[::7]), "state-object": "state:object", "alarm-deep": "alarm:deep"}
    write_rogues(rogues, chosen.items())
    daemon = rogues.daemon()
    wait_for(lambda: rogues.ready("Entry/healthy") == "AsDesired")
    count = len(chosen)
    wait_for(lambda: len(rogues.rows("SELECT 1 FROM statuses WHERE kind = 'Rogue' AND message != ''")) == count, 60)
    rogues.write("later.yaml", entry("later"))
    wait_for(lambda: "later" in rogues.there())
    for path in ("/", "/resources?kind=Rogue", "/api/v2/resources?kind=Rogue", "/resources/Rogue/state-object"):
        assert daemon.get(path)[0] == 200, path
    assert daemon.get("/healthz")[0] == 200
    assert daemon.stop() == 0
    assert Path(rogues.live).exists()


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_local_variable(rogues: Stage, form: str) -> None:
    rogues.write("rogue.yaml", rogue("one", "locals:none"))
    daemon = rogues.daemon(env={"RECONCILER_LOG_FORMAT": form, "RECONCILER_LOG_LEVEL": "debug"}, options=("-vvv",))
    wait_for(lambda: rogues.ready("Rogue/one") == "UnexpectedError" and "failed unexpectedly" in daemon.said)
    ran = rogues.run("-vvv", "apply", rogues.specs, "--yes", code=None)
    assert daemon.stop() == 0
    for text in (daemon.said, ran.err):
        assert "ZeroDivisionError" in text
        assert "in _fail_with" in text, "the traceback itself is there"
        assert LEAK not in text
    assert not [name for name, content in rogues.kept().items() if LEAK.encode() in content]
