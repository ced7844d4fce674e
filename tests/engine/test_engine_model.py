"""The whole engine against a model: documents come, change, break and go, the live system drifts, processes restart."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from inside import Inside
from place import Place, entry

NAMES = ["a", "b", "c", "d"]
FOREIGN = {"text": "not ours"}
ANY_NAME = st.sampled_from(NAMES)
TEXTS = st.sampled_from(["x", "y", "z"])


@dataclass(frozen=True)
class Doc:
    """What a document says."""

    text: str
    state: str = "present"
    deletion: str = "delete"
    parent: str = ""

    def written(self, name: str) -> dict[str, Any]:
        spec = {"text": self.text, **({"parent": self.parent} if self.parent else {})}
        return entry(name, {"state": self.state, "deletion": self.deletion}, **spec)


class Model(RuleBasedStateMachine):
    """docs: what is written. ours: what we made or took over, with the document that it was left with."""

    fresh: Path

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.place = Place(self.root, self.fresh)
        self.docs: dict[str, Doc] = {}
        self.ours: dict[str, Doc] = {}
        self.guarded: set[str] = set()
        self.live: dict[str, str] = {}
        self.broken = ""
        self.generations: dict[str, int] = {}

    @initialize()
    def start(self) -> None:
        self.put_live()
        self.engine = Inside(self.place)

    def put_live(self) -> None:
        self.place.put({"foreign": FOREIGN, **{name: {"text": text} for name, text in self.live.items()}})

    def needed(self, name: str) -> bool:
        wanted = any(doc.parent == name for doc in self.docs.values())
        left = any(doc.parent == name for other, doc in self.ours.items() if other not in self.docs)
        return wanted or left

    def write(self, name: str) -> None:
        if name != self.broken:
            self.place.write(f"{name}.yaml", self.docs[name].written(name))

    @rule(
        name=ANY_NAME,
        text=TEXTS,
        deletion=st.sampled_from(["delete", "delete", "protect"]),
        parent=st.none() | ANY_NAME,
    )
    def want(self, name: str, text: str, deletion: str, parent: str | None) -> None:
        fits = parent is not None and parent < name and parent in self.docs and self.docs[parent].state == "present"
        self.docs[name] = Doc(text, "present", deletion, parent if fits and parent else "")
        self.write(name)

    @precondition(lambda self: any(not self.needed(name) for name in self.docs))
    @rule(data=st.data(), gone=st.booleans())
    def no_longer_want(self, data: st.DataObject, gone: bool) -> None:
        name = data.draw(st.sampled_from([name for name in self.docs if not self.needed(name)]))
        if gone and name != self.broken:
            del self.docs[name]
            (self.place.specs / f"{name}.yaml").unlink()
        else:
            self.docs[name] = replace(self.docs[name], state="absent", deletion="delete", parent="")
            self.write(name)

    @rule(name=ANY_NAME, text=TEXTS | st.none())
    def drift(self, name: str, text: str | None) -> None:
        if text is None:
            self.live.pop(name, None)
        else:
            self.live[name] = text
        self.put_live()

    @precondition(lambda self: self.docs and not self.broken)
    @rule(data=st.data())
    def break_a_file(self, data: st.DataObject) -> None:
        self.broken = data.draw(st.sampled_from(sorted(self.docs)))
        (self.place.specs / f"{self.broken}.yaml").write_text("kind: [")

    @precondition(lambda self: self.broken)
    @rule()
    def repair(self) -> None:
        name, self.broken = self.broken, ""
        self.write(name)

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Inside(self.place)

    @precondition(lambda self: self.broken)
    @rule(prune=st.booleans())
    def apply_beside_a_broken_file(self, prune: bool) -> None:
        """Nothing is deleted for what cannot be read, and whatever happens to it, it is what somebody wrote."""
        before = dict(self.live)
        self.engine.apply(prune=prune, max_deletes=100)
        self.live = {name: one["text"] for name, one in self.place.there().items() if name != "foreign"}
        for name, text in before.items():
            if name not in self.live:
                assert self.docs[name].state == "absent"
                assert name not in self.guarded
            elif name not in self.docs:
                assert self.live[name] == text
        for name, doc in self.docs.items():
            if name != self.broken:
                self.settled(name, doc)
        if self.broken in self.live and self.live.get(self.broken) != before.get(self.broken):
            self.ours.setdefault(self.broken, self.docs[self.broken])

    @precondition(lambda self: not self.broken)
    @rule(prune=st.booleans())
    def apply(self, prune: bool) -> None:
        self.engine.apply(prune=prune, max_deletes=100)
        expected = dict(self.live)
        leftovers = {name: doc for name, doc in self.ours.items() if name not in self.docs}
        for name, doc in self.docs.items():
            if doc.state == "present":
                expected[name] = doc.text
        if prune and self.docs:
            for name in sorted(leftovers, reverse=True):  # whoever needs another comes later in the alphabet
                if name not in self.guarded and not self.needed(name):
                    expected.pop(name, None)
                    del self.ours[name]
        for name in [name for name, doc in self.docs.items() if doc.state == "absent"]:
            if name not in self.guarded and self.docs[name].deletion != "protect" and not self.needed(name):
                expected.pop(name, None)
        there = self.place.there()
        assert {name: one["text"] for name, one in there.items() if name != "foreign"} == expected
        self.live = expected
        for name, doc in self.docs.items():
            self.settled(name, doc)

    def settled(self, name: str, doc: Doc) -> None:
        """What the store knows of a resource after it was looked after."""
        if doc.state == "present":
            if self.live.get(name) == doc.text:
                self.ours[name] = doc
                (self.guarded.add if doc.deletion == "protect" else self.guarded.discard)(name)
        elif name not in self.live and name not in self.guarded:
            self.ours.pop(name, None)

    @precondition(lambda self: not self.broken)
    @rule(prune=st.booleans())
    def a_second_apply_finds_nothing_to_do(self, prune: bool) -> None:
        self.apply(prune)
        calls = self.place.calls()
        assert self.engine.plan(prune=prune, max_deletes=100).plan.effective == ()
        assert self.place.calls() == calls

    @invariant()
    def what_is_not_ours_is_never_touched(self) -> None:
        assert self.place.there().get("foreign", FOREIGN) == FOREIGN

    @invariant()
    def generations_never_fall(self) -> None:
        for row in self.place.rows("SELECT name, generation FROM resources"):
            assert row["generation"] >= self.generations.get(row["name"], 0) or row["generation"] == 1
            self.generations[row["name"]] = row["generation"]

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
        shutil.rmtree(self.root)


RULES = settings(max_examples=25, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_engine_does_what_the_model_says(fresh_database: Path) -> None:
    Model.fresh = fresh_database
    run_state_machine_as_test(Model, settings=RULES)


@pytest.mark.soak
def test_the_engine_does_what_the_model_says_for_long(fresh_database: Path) -> None:
    Model.fresh = fresh_database
    run_state_machine_as_test(
        Model, settings=settings(RULES, max_examples=400, stateful_step_count=30, derandomize=False)
    )
