"""What every kind owes: found by folder, so that a new kind is tested without touching anything here.

A kind's folder has `schema.json`, `example.yaml`, `cases/*.yaml`, and a HARNESS in `test_<kind>.py` or `harness.py`
that says how to drive it: `kind`, `name`, `settings` (the kind's section), `spec()`, `updated_spec()`, `drift(home)`,
`is_absent(home)`, `close(home)`; and, where it needs something to be there first, `prepare(place)`; and, for what is
there before us and never created, `first`: what the first plan does instead.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from imports import imported
from place import Place
from sqlalchemy import JSON, Boolean, Column, DateTime, MetaData, Numeric, String, Table

from reconciler.engine.wiring import KindKeys, KindTables, primary_keys
from reconciler.errors import UsageError
from reconciler.kinds import KindPackage, discover
from reconciler.model.observation import Observation
from reconciler.model.record import Record
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.planning.decide import Judgement, decide

PACKAGES = discover(["entry_kind"]).packages
BY_NAME = pytest.mark.parametrize("name", sorted(PACKAGES))
CASES = [(name, path) for name in sorted(PACKAGES) for path in sorted((PACKAGES[name].folder / "cases").glob("*.yaml"))]


def harness_of(package: KindPackage) -> Any:
    """The HARNESS of a kind."""
    file = package.folder / "harness.py"
    module = "harness" if file.exists() else f"test_{package.folder.name}"
    return importlib.import_module(f"{package.module}.{module}").HARNESS


def settle(place: Place, harness: Any) -> None:
    """The kind's settings, and what it needs to be there first."""
    place.settings["KINDS"] = json.dumps({harness.kind: dict(harness.settings)})
    if hasattr(harness, "prepare"):
        harness.prepare(place)


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every property that a schema describes, however deep."""
    if isinstance(schema, dict):
        for name, member in schema.get("properties", {}).items():
            yield f"{path}.{name}", member
            yield from properties(member, f"{path}.{name}")
        for word in ("items", "additionalProperties"):
            yield from properties(schema.get(word), f"{path}[]")


@BY_NAME
def test_the_schema_is_valid_and_describes_every_field(name: str) -> None:
    schema = PACKAGES[name].kind.schema
    jsonschema.Draft202012Validator.check_schema(schema)
    found = dict(properties(schema))
    assert found
    assert [path for path, member in found.items() if not member.get("description")] == []


@BY_NAME
def test_settings_of_a_kind_are_valid_closed_and_described(name: str) -> None:
    schema = PACKAGES[name].settings
    if schema is None:
        return
    jsonschema.Draft202012Validator.check_schema(schema)
    found = dict(properties(schema))
    sections = [schema, *(member for member in found.values() if "properties" in member)]
    assert found
    assert [path for path, member in found.items() if not member.get("description")] == []
    assert all(section.get("additionalProperties") is False for section in sections)


@BY_NAME
def test_the_keys_of_its_tables_are_known_without_loading_them(name: str) -> None:
    """As `tables.json` has them, and without one (as of `Entry`) all the same."""
    kinds = discover(["entry_kind"])
    if PACKAGES[name].has_tables:
        assert KindKeys(kinds)[name] == primary_keys(KindTables(kinds)[name])
    assert (PACKAGES[name].table_keys is None) == (name == "Entry")


CONVERTED = {"DateTime": DateTime(), "Boolean": Boolean(), "Numeric": Numeric(), "JSON": JSON()}


@pytest.mark.parametrize("word", CONVERTED)
def test_tables_whose_values_python_would_see_otherwise_are_refused(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = importlib.import_module("entry_kind.tables")
    monkeypatch.setattr(tables, "metadata", MetaData())
    Table("entries", tables.metadata, Column("name", String(63), primary_key=True), Column("odd", CONVERTED[word]))
    with pytest.raises(UsageError, match=rf"entry_kind.tables: entries\.odd is of type {word}"):
        KindTables(discover(["entry_kind"]))["Entry"]


@BY_NAME
def test_a_kind_has_an_example_and_cases(name: str, place: Place) -> None:
    folder = PACKAGES[name].folder
    assert next(yaml.safe_load_all((folder / "example.yaml").read_text()))["kind"] == name
    assert list((folder / "cases").glob("*.yaml"))
    assert "all valid" in place.run("validate", folder / "example.yaml").out


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name}-{path.stem}" for name, path in CASES])
def test_case(name: str, path: Path) -> None:
    case, kind, ref = yaml.safe_load(path.read_text()), PACKAGES[name].kind, ResourceRef(name, "case")
    jsonschema.validate(case["spec"], kind.schema)
    wanted = Resource(
        ref,
        with_files(case["spec"]),
        lifecycle=Lifecycle.from_document(case.get("lifecycle") or {}),
        source=Source("file:/srv/specs/case.yaml", 1, 1),
        generation=1,
    )
    record = Record(ref, wanted, applied=case.get("applied"), touched=True)
    change = decide(Judgement({name: kind}), ref, wanted, record, Observation(ref, case["observed"]))
    expected = case["plan"]
    assert change.action == expected["action"], case["title"]
    assert [step.name for step in change.steps] == expected["steps"]
    assert (change.obstacle.reason if change.obstacle else None) == expected.get("obstacle")
    if "paths" in expected:
        assert sorted(entry.path for entry in change.diffs) == sorted(expected["paths"])


def with_files(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec as the loader hands it over: a kubeconfig's path is a file with a digest."""
    from reconciler.model.secret import SpecFile

    if "kubeconfig" not in spec:
        return spec
    given = spec["kubeconfig"]
    return {**spec, "kubeconfig": {**given, "path": SpecFile(given["path"], "0" * 64)}}


class Driven:
    """A kind's resource in a home of its own, driven by the real command line."""

    def __init__(self, place: Place, harness: Any) -> None:
        self.place = place
        self.harness = harness
        self.ref = f"{harness.kind}/{harness.name}"
        settle(place, harness)

    def write(self, spec: Mapping[str, Any], **lifecycle: str) -> None:
        """The only document."""
        document = {"apiVersion": "reconciler.dev/v1", "kind": self.harness.kind}
        rest = {"metadata": {"name": self.harness.name}, "lifecycle": lifecycle, "spec": dict(spec)}
        self.place.write("contract.yaml", {**document, **rest})

    def action(self) -> str:
        """What a plan would do; `noop` for nothing."""
        ran = self.place.run("plan", self.place.specs, "-o", "json", cwd=self.place.home)
        return next((str(change["action"]) for change in ran.json["changes"]), "noop")

    def apply(self) -> None:
        """Carry it out; then there is nothing left to do."""
        self.place.run("apply", self.place.specs, "--yes", cwd=self.place.home)
        assert self.action() == "noop"

    def look_imports(self) -> set[str]:
        """What a plan imports that finds nothing to do."""
        return imported(self.place, "plan", self.place.specs)

    def kept(self) -> dict[str, Any]:
        """All rows of the store's own tables and of the kind's."""
        names = [row["name"] for row in self.place.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self.place.rows(f"SELECT * FROM {name}") for name in names}


@pytest.fixture
def driven(place: Place, request: pytest.FixtureRequest) -> Iterator[Driven]:
    harness = harness_of(PACKAGES[request.param])
    yield Driven(place, harness)
    harness.close(place.home)


@pytest.mark.parametrize("driven", sorted(PACKAGES), indirect=True)
def test_a_life(driven: Driven) -> None:
    """create (or take over) → nothing → drift by hand → update → nothing → changed spec → update → delete → absent."""
    driven.write(driven.harness.spec())
    assert driven.action() == getattr(driven.harness, "first", "create")
    driven.apply()
    before = driven.kept()
    assert driven.action() == "noop"
    assert driven.kept() == before, "looking wrote something"
    assert "sqlalchemy" not in driven.look_imports()
    driven.harness.drift(driven.place.home)
    assert driven.action() == "update"
    driven.apply()
    driven.write(driven.harness.updated_spec())
    assert driven.action() == "update"
    driven.apply()
    driven.write(driven.harness.updated_spec(), state="absent")
    assert driven.action() == "delete"
    driven.apply()
    assert driven.harness.is_absent(driven.place.home)
