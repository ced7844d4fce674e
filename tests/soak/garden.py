"""What the soak tests work on: many resources that somebody keeps editing, and what must be true whatever happened.

A garden is a lab (tests/daemon/lab.py) with entries and notes. `edit` changes some of them at random, from a seed;
`assert_true` compares live system, store and journal with each other and with what was asked for.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.daemon.lab import Lab, document, entry, processes_of, until

PLUGINS = Path(__file__).parent / "plugins"
STEPS = {
    ("Entry", "create"): ["number", "write", "stamp"],
    ("Entry", "update"): ["number", "write", "stamp"],
    ("Entry", "delete"): ["remove", "forget"],
    ("Note", "create"): ["write", "compare"],
    ("Note", "update"): ["write", "compare"],
    ("Note", "delete"): ["remove"],
}
"""The steps of each change, in order."""


def amount(name: str, default: int) -> int:
    """A count or a length that the environment may set: RECONCILER_SOAK_<NAME>."""
    return int(os.environ.get(f"RECONCILER_SOAK_{name}", default))


class Garden(Lab):
    """A lab in which `size` entries and as many notes are edited again and again. wanted: text by `Kind/name`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notes = root / "notes"
        self.notes.mkdir()
        self.wanted: dict[str, str | None] = {}
        self._number = 0
        self.configure(plugins=["note_kind"], kinds={"Note": {"folder": str(self.notes)}}, maxDeletes=1000)
        self.configure(plugins=["entry_kind", "odd_kind", "note_kind"])

    def environment(self, **more: str) -> dict[str, str]:
        """As any lab's, with our kind on the path."""
        ours = super().environment()
        return {**ours, "PYTHONPATH": f"{PLUGINS}{os.pathsep}{ours['PYTHONPATH']}", **more}

    def plant(self, size: int) -> None:
        """Want so many entries and notes."""
        for number in range(size):
            self.wanted[f"Entry/e{number:02}"] = "first"
            self.wanted[f"Note/n{number:02}"] = "first"
        self.save()

    def edit(self, chance: random.Random, most: int = 5) -> list[str]:
        """Change up to so many resources: another text, absent, or back again. Returns which."""
        chosen = chance.sample(sorted(self.wanted), chance.randint(1, most))
        for ref in chosen:
            self._number += 1
            gone = self.wanted[ref] is not None and chance.random() < 0.2
            self.wanted[ref] = None if gone else f"text {self._number}"
        self.save()
        return chosen

    def save(self) -> None:
        """Put everything that is wanted into four files, each renamed into place."""
        for part in range(4):
            texts = [self._document(ref, text) for ref, text in sorted(self.wanted.items())[part::4]]
            draft = self.root / f"{part}.draft"
            draft.write_text("".join(texts))
            draft.rename(self.specs / f"{part}.yaml")

    def _document(self, ref: str, text: str | None) -> str:
        kind, _, name = ref.partition("/")
        lifecycle = {"interval": "1h", "state": "absent" if text is None else "present"}
        if kind == "Entry":
            return entry(name, text or "gone", lifecycle)
        return document(kind, name, {"text": text or "gone"}, lifecycle)

    def there(self) -> dict[str, str]:
        """What the live systems say, by `Kind/name`."""
        found = {f"Entry/{name}": str(state["text"]) for name, state in self.live().items()}
        return found | {f"Note/{path.name}": path.read_text() for path in self.notes.iterdir() if not path.suffix}

    def as_wanted(self) -> bool:
        """Whether the live systems are as the specs say."""
        return self.there() == {ref: text for ref, text in self.wanted.items() if text is not None}

    def converge(self) -> None:
        """Apply to the end; a second look finds nothing to do, and everything is as it should be."""
        done = self.run("apply", self.specs, "--yes", timeout=300)
        assert done.code == 0, done.text
        second = self.run("apply", self.specs, "--yes", "--check", timeout=300)
        assert second.code == 0, second.text
        assert "0 to create, 0 to update, 0 to replace, 0 to delete" in second.out
        assert self.as_wanted(), self.difference()

    def difference(self) -> dict[str, tuple[str | None, str | None]]:
        """What is there and what should be, where that is not the same."""
        there = self.there()
        return {
            ref: (there.get(ref), text)
            for ref, text in {**dict.fromkeys(there), **self.wanted}.items()
            if there.get(ref) != text
        }

    def began_since(self, runs: list[dict[str, Any]]) -> bool:
        """Whether a run was opened since `runs` were counted."""
        return self.rows("SELECT count(*) AS n FROM runs") != runs

    def assert_whole(self) -> None:
        """What must hold at any moment, also right after a kill."""
        assert self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        backwards = (
            "SELECT c.kind, c.name, s.id FROM steps s JOIN changes c ON c.id = s.change_id WHERE s.epoch <"
            " (SELECT max(e.epoch) FROM steps e JOIN changes d ON d.id = e.change_id"
            "  WHERE d.kind = c.kind AND d.name = c.name AND e.id < s.id)"
        )
        assert self.rows(backwards) == [], "somebody wrote after his lease was taken over"

    def assert_true(self, *, at_rest: bool = True) -> None:
        """What must hold once everything has converged. at_rest: no process of ours runs any more."""
        self.assert_whole()
        for left in ("steps WHERE outcome = 'open'", "changes WHERE verdict = ''", "processes"):
            assert self.rows(f"SELECT * FROM {left}") == []
        if at_rest:
            assert self.rows("SELECT * FROM runs WHERE state = 'running'") == []
            assert self.rows("SELECT * FROM leases WHERE owner != ''") == []
            until(lambda: not processes_of(self.root), lambda: processes_of(self.root), 20)
        self._assert_records()
        self._assert_journal()

    def _assert_records(self) -> None:
        """Every record says what is there."""
        for ref, text in self.wanted.items():
            status = self.status(ref)
            assert (status["ready"], status["observed_generation"]) == ("True", status["generation"]), (ref, status)
            applied = None if status["applied"] is None else json.loads(status["applied"])
            assert applied == (None if text is None else {"text": text}), (ref, status)
        numbers = [row["number"] for row in self.rows("SELECT number FROM entries WHERE name LIKE 'e__'")]
        entries = [ref for ref, text in self.wanted.items() if ref.startswith("Entry/") and text is not None]
        assert len(set(numbers)) == len(numbers) == len(entries)

    def _assert_journal(self) -> None:
        """No step is lost: what ran was journalled before, and what is called done was carried out from end to end."""
        for change in self.rows("SELECT * FROM changes WHERE verdict = 'changed'"):
            steps = self.rows("SELECT name, outcome FROM steps WHERE change_id = ? ORDER BY sequence", change["id"])
            expected = STEPS[change["kind"], change["action"]]
            assert [(step["name"], step["outcome"]) for step in steps] == [(name, "done") for name in expected]
        journalled, done = self._counted(""), self._counted("AND s.outcome = 'done'")
        calls = self._calls()
        for key in journalled.keys() | calls.keys():
            assert done[key] <= calls[key] <= journalled[key], (key, done[key], calls[key], journalled[key])

    def _counted(self, where: str) -> Counter[tuple[str, str]]:
        """How often each step of each entry stands in the journal."""
        found = self.rows(
            "SELECT s.name AS step, c.name AS name FROM steps s JOIN changes c ON c.id = s.change_id"
            f" WHERE c.kind = 'Entry' {where}"
        )
        return Counter((row["step"], row["name"]) for row in found)

    def _calls(self) -> Counter[tuple[str, str]]:
        """How often each step of each entry was called."""
        path = Path(f"{self.live_file}.calls")
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter((what, name) for what, name, _pid in map(str.split, lines))

    def journal_figures(self) -> Mapping[str, Any]:
        """How often runs and steps were cut off."""
        counted = "SELECT count(*) AS n FROM {}"
        return {
            "changes": self.rows(counted.format("changes"))[0]["n"],
            "steps": self.rows(counted.format("steps"))[0]["n"],
            "steps cut off": self.rows(counted.format("steps WHERE outcome = 'unconfirmed'"))[0]["n"],
            "runs cut off": self.rows(counted.format("runs WHERE state = 'interrupted'"))[0]["n"],
        }
