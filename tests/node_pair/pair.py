"""A pair of the lab as a document in a home of its own, with the real command line on it."""

from __future__ import annotations

import copy
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forking import Forked
from pair_ground import NEW, NEW_TEXT, OLD_TEXT, Call, Ground
from place import Place, Ran

from reconciler.kinds.node_pair.spec import ROLES

DYING = Path(__file__).with_name("pair_dying.py")
NAME = "lab"
REF = f"NodePair/{NAME}"


class Pair:
    """The document, what is done with it, and what the store then says. spec: as `write` writes it.

    It is quicker than the lab's own: no soak, short waits.
    """

    def __init__(self, place: Place, ground: Ground) -> None:
        self.place, self.ground = place, ground
        self.place.settings["SECRETS_FILES"] = str(ground.home / "secrets")
        self.spec: dict[str, Any] = copy.deepcopy(ground.document["spec"])
        self.spec["verify"] = {"retries": 3, "delay": "100ms", "soak": "0s"}
        self.spec["reconnect"] = "5s"
        for role in ROLES:
            self.spec[role]["connectTimeout"] = "5s"
        if "rsync" in self.spec:
            self.spec["rsync"]["monitor"] = "1s"
        self.set_content(OLD_TEXT)
        self.write()

    def write(self, **parts: Any) -> None:
        """Write the document. parts: of the spec, instead of what they were."""
        self.spec.update(parts)
        document = {"apiVersion": "reconciler.dev/v1", "kind": "NodePair", "metadata": {"name": NAME}}
        self.place.write("pair.yaml", {**document, "spec": self.spec})

    def set_content(self, text: str) -> None:
        """What the configuration file is to hold."""
        (self.ground.home / "secrets/lab-app.conf").write_text(text)

    def want_new(self, **parts: Any) -> None:
        """Another version, and another configuration."""
        self.set_content(NEW_TEXT)
        self.write(version=NEW, **parts)

    def plan(self) -> dict[str, Any] | None:
        """The change that `plan` shows; None when there is nothing to do."""
        return self.place.plan().get(REF)

    def apply(self, code: int | None = 0, *arguments: str) -> Ran:
        """`reconciler apply`."""
        return self.place.apply(*arguments, code=code)

    def start(self, script: Path | None = None, moment: str = "") -> Forked:
        """`reconciler apply`, not waited for. moment: of `pair_dying.py`."""
        words = ["reconciler", *([moment] if moment else []), "apply", str(self.place.specs), "--yes"]
        return Forked(words, self.place.environ, cwd=self.place.root, script=script or (DYING if moment else ""))

    def dies(self, moment: str) -> bool:
        """Apply, and be killed at a moment; False when it ended before."""
        process = self.start(moment=moment)
        try:
            process.wait(180)
        finally:
            process.close()
        return process.returncode == -signal.SIGKILL

    def converge(self, tries: int = 6) -> str:
        """Apply until there is nothing left to do, or a person is asked. What all of it printed."""
        said = ""
        for _ in range(tries):
            ran = self.apply(None)
            said += ran.out + ran.err
            if self.state() == "WAIT_MANUAL" or self.plan() is None:
                return said
        raise AssertionError(f"after {tries} times there is still something to do:\n{said}")

    def calls(self, *names: str) -> list[Call]:
        """What was called on both nodes, in order of time; only of these names, if any are given."""
        found = sorted((call for role in ROLES for call in self.ground.calls(role)), key=lambda call: call.at)
        return [call for call in found if not names or call.name in names]

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the store."""
        return self.place.rows(statement, *values)

    def row(self) -> Mapping[str, Any]:
        """The pair's own; nothing before its first look."""
        found = self.rows("SELECT * FROM node_pairs WHERE pair = ?", NAME)
        return found[0] if found else {}

    def state(self) -> str:
        """Of the pair's machine of states."""
        return str(self.row().get("state", ""))

    def upgrades(self) -> list[dict[str, Any]]:
        """Its upgrades, oldest first."""
        return self.rows("SELECT * FROM upgrade_history WHERE pair = ? ORDER BY upgrade_id", NAME)

    def progress(self, upgrade_id: int | None = None) -> dict[str, str]:
        """Status of each step of an upgrade, in order; of the newest, left out."""
        number = self.upgrades()[-1]["upgrade_id"] if upgrade_id is None else upgrade_id
        found = self.rows("SELECT step, status FROM upgrade_progress WHERE upgrade_id = ? ORDER BY sequence", number)
        return {row["step"]: row["status"] for row in found}

    def alarms(self) -> list[str]:
        """The reasons of its alarms, in order."""
        found = self.rows("SELECT reason FROM events WHERE type = 'alarm' AND name = ? ORDER BY id", NAME)
        return [row["reason"] for row in found]

    def versions(self) -> dict[str, str]:
        """What each node says that it runs."""
        tool = self.spec["commands"]["version"]["run"]
        return {role: self.ground.said(role, tool) for role in ROLES}

    def serving(self) -> list[str]:
        """Who says that it serves."""
        tool = self.spec["serving"]
        return [role for role in ROLES if self.ground.run(role, tool).returncode == 0]

    def content(self, role: str) -> str:
        """What the configuration file of a node holds."""
        return (self.ground.data(role) / "conf/app.conf").read_text()
