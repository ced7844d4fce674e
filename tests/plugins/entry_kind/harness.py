"""How the contract of kinds drives an entry: its live system is a file in the home."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Harness:
    """See tests/kinds/test_contract.py."""

    kind = "Entry"
    name = "contract"
    settings: Mapping[str, Any] = {"file": "live.json"}  # in the folder that the commands run in, which is the home

    def spec(self) -> dict[str, Any]:
        """What to create."""
        return {"text": "hello", "tags": ["a"]}

    def updated_spec(self) -> dict[str, Any]:
        """The same with something to update."""
        return {"text": "goodbye", "tags": ["a", "b"]}

    def drift(self, home: Path) -> None:
        """Somebody writes something else."""
        there = json.loads((home / "live.json").read_text())
        there[self.name]["text"] = "by hand"
        (home / "live.json").write_text(json.dumps(there))

    def is_absent(self, home: Path) -> bool:
        """Whether the file is there, and without it."""
        return self.name not in json.loads((home / "live.json").read_text())

    def close(self, home: Path) -> None:
        """A file needs no end."""


HARNESS = Harness()
