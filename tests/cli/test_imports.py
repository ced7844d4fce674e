"""What a command does not use it does not import: start-up is most of the time of a short command."""

from __future__ import annotations

import pytest
from imports import imported
from place import Place, entry

LIGHT = (
    "sqlalchemy",
    "kubernetes",
    "alembic",
    "structlog",
    "rich",
    "jinja2",
    "jsonschema",
    "paramiko",
    "flask",
    "httpx",
)
STORED = (
    "kubernetes", "starlette", "flask", "uvicorn", "alembic", "paramiko", "watchdog", "prometheus_client", "structlog",
    "httpx",
)  # fmt: skip


def test_commands_that_look_at_nothing_import_next_to_nothing(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    for arguments in (["--help"], ["plan", "--help"], ["validate", place.specs], ["schema", "Entry"]):
        assert imported(place, *arguments) & set(LIGHT) == set(), arguments


def test_templates_are_imported_for_a_document_that_has_one(place: Place) -> None:
    place.write("a.yaml", entry("one", text="{{ greeting }}"))
    assert imported(place, "validate", place.specs, "-e", "greeting=hello") & set(LIGHT) == {"jinja2"}


def test_messages_about_schemas_are_imported_for_an_invalid_document(place: Place) -> None:
    place.write("a.yaml", entry("one", text=5))
    assert imported(place, "validate", place.specs, code=1) & set(LIGHT) == {"jsonschema"}


@pytest.mark.parametrize("command", ["plan", "get"])
def test_commands_on_the_store_import_neither_daemon_nor_clients(place: Place, command: str) -> None:
    place.write("a.yaml", entry("one"))
    arguments = [place.specs] if command == "plan" else []
    found = imported(place, command, *arguments)
    assert ("sqlalchemy" in found) == (command == "get"), "a plan reads the store in plain SQL"
    assert found & set(STORED) == set()


@pytest.mark.parametrize("command", ["plan", "diff"])
def test_a_dry_run_imports_nothing_that_does_anything(place: Place, command: str) -> None:
    place.write("a.yaml", entry("one"))
    found = imported(place, command, place.specs, code=1 if command == "diff" else 0)
    assert "reconciler.engine.dry_run" in found
    assert {one for one in found if one.startswith("reconciler.kinds.") and one.endswith(".steps")} == set()
    doing = {"executor", "keeper", "reconcile", "record", "schedule", "steps"}
    assert found & {f"reconciler.engine.{name}" for name in doing} == set()
    assert "reconciler.transports.process" not in found
    assert "sqlalchemy" not in found
