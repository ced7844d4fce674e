"""How the contract of kinds drives a pair: on the plain lab, two folders with a small service, an sshd and an rsync."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reconciler.lab import labs
from reconciler.lab.commands import run


class Harness:
    """See tests/kinds/test_contract.py. document: of the last lab that was made."""

    kind = "NodePair"
    name = "contract"
    settings: Mapping[str, Any] = {}
    first = "update"

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    def prepare(self, place: Any) -> None:
        """Two nodes that run 1.0.0, and serve."""
        labs.up(place.home, "plain")
        written = labs.document(place.home)
        assert written is not None
        self.document = yaml.safe_load(written.read_text())
        artifact = self.document["spec"].get("artifact")
        if artifact is not None:
            artifact["source"] = str(written.parent / artifact["source"])

    def spec(self) -> dict[str, Any]:
        """Both upgraded."""
        return {**self.document["spec"], "version": "2.0.0"}

    def updated_spec(self) -> dict[str, Any]:
        """Upgraded once more."""
        return {**self.document["spec"], "version": "3.0.0"}

    def drift(self, home: Path) -> None:
        """Somebody stops the rsync of the master, and nobody knows why."""
        run("sh", "-c", self._on(home, "master", "stop"))

    def is_absent(self, home: Path) -> bool:
        """Whether the nodes have nothing of ours but what says which commands have run, and go on as they did."""
        pairs = list((home / "lab").glob("*/state/reconciler-node/pairs/*"))
        run("sh", "-c", self._on(home, "master", "status"))
        lab = labs.look(home)
        return not pairs and lab is not None and all(labs.serves(node) for node in lab.nodes)

    def close(self, home: Path) -> None:
        """Take the nodes down."""
        labs.down(home)

    def _on(self, home: Path, node: str, verb: str) -> str:
        """What controls the rsync of a node, typed on it."""
        lab = labs.look(home)
        assert lab is not None
        told = self.document["spec"]["rsync"]["commands"][verb]
        return f"{labs.login(home, lab.node(node))} {told!r}"


HARNESS = Harness()
