"""What others do between two looks of a process at the store: forced here at the very moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reconciler.engine import workspace as module
from reconciler.engine.wiring import open_runtime, open_workspace
from reconciler.engine.workspace import Workspace
from reconciler.loading.settings import load_settings
from reconciler.model.resource import ResourceRef
from tests.daemon.lab import Lab, entry


@contextmanager
def opened(lab: Lab) -> Iterator[Workspace]:
    """A workspace on the lab, in this process; only the entry kind, because that one is on the path here."""
    lab.settings["kinds"].pop("Odd")
    lab.configure(plugins=["entry_kind"])
    runtime = open_runtime(load_settings(None, lab.environment()), "test")
    try:
        yield open_workspace(runtime, lab.specs)
    finally:
        runtime.database.close()


def test_what_is_created_while_others_load_does_not_count_as_gone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading the store's documents and reading its rows, another process creates a resource."""
    documents = module.store.documents

    def and_then_somebody_creates_one(connection: Any) -> Any:
        found = documents(connection)
        if not lab.status("Entry/new"):
            lab.ok("create", "entry", "new", "--set", "text=new", "--no-apply")
        return found

    lab.write("a.yaml", entry("a"))
    with opened(lab) as workspace:
        monkeypatch.setattr(module.store, "documents", and_then_somebody_creates_one)
        workspace.load()
        workspace.record()
        assert lab.status("Entry/new")["vanished_at"] is None
        assert ResourceRef("Entry", "new") in workspace.load()
    assert "1 to delete" not in lab.run("plan", lab.specs, "--prune").out


def test_what_could_not_be_recorded_is_not_forgotten(lab: Lab) -> None:
    """The files were read, then the store refused; the files do not change again."""
    ref = ResourceRef("Entry", "a")
    lab.configure(busyTimeout="100ms")
    lab.write("a.yaml", entry("a", "one"))
    with opened(lab) as workspace:
        workspace.load()
        workspace.record()
        lab.write("a.yaml", entry("a", "two"))
        with lab.locked():
            assert ref in workspace.load()
            with pytest.raises(Exception, match="write lock"):
                workspace.record()
        assert ref in workspace.load()
        workspace.record()
        assert lab.rows("SELECT generation FROM resources") == [{"generation": 2}]
        assert workspace.load() == frozenset()
