"""A lab of sandbox clusters (tests/clusters) with a real bare repository whose branches follow them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from git_lab import Repository

from tests.clusters.sandbox_lab import SandboxLab, cluster

HOST = "whoami.${cluster}.example.com"
CHART = {
    "deploy/Chart.yaml",
    "deploy/README.md",
    "deploy/templates/deployment.yaml",
    "deploy/values.yaml",
}
"""The files of the chart `whoami` on a branch."""


class BranchLab(SandboxLab):
    """One home with its sandbox and a repository."""

    mortal = (
        "/kinds/cluster/branches/",
        "/kinds/cluster/attachments/git.py",
        "/kinds/cluster/made.py",
        "/transports/git_remote.py",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository = Repository(self.root / "served" / "apps.git")

    def git(self, **git: Any) -> dict[str, Any]:
        """`spec.git` for this repository, with the chart unless told otherwise."""
        return {"repository": self.repository.url, "content": {"chart": "whoami", "host": HOST}, **git}

    def cluster(self, name: str, lifecycle: Mapping[str, Any] | None = None, /, **git: Any) -> str:
        """A document of a cluster with a branch."""
        return cluster(name, lifecycle, git=self.git(**git))

    def heads(self) -> dict[str, str]:
        """The commit of each branch."""
        return self._refs("heads")

    def tags(self) -> dict[str, str]:
        """The commit of each tag."""
        return self._refs("tags")

    def files(self, branch: str) -> dict[str, str]:
        """What a branch holds."""
        packed = subprocess.run(
            ["git", "-C", str(self.repository.path), "archive", branch], capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            opened = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            return {name: file.read().decode() for name, file in opened.items() if file is not None}

    def commits(self, branch: str) -> list[str]:
        """The subjects of its commits, newest first."""
        return self.repository.git("log", "--format=%s", branch, "--").splitlines()

    def hook(self, name: str, script: str) -> Path:
        """What the repository runs when somebody pushes."""
        path = self.repository.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def attached(self, field: str = "git") -> dict[str, Any]:
        """What the records say that was made, by cluster."""
        found = self.rows("SELECT * FROM cluster_attachments WHERE field = ?", field)
        return {row["cluster"]: json.loads(row["state"] or "null") for row in found}

    def archived(self, branch: str) -> list[str]:
        """The commits that tags of the archive keep of a branch."""
        pattern = re.compile(rf"archive/{re.escape(branch)}/\d{{8}}-\d{{6}}")
        return [commit for tag, commit in self.tags().items() if pattern.fullmatch(tag)]

    def _refs(self, kind: str) -> dict[str, str]:
        listed = self.repository.git("for-each-ref", "--format=%(objectname) %(refname)", f"refs/{kind}")
        pairs = (line.split(" ", 1) for line in listed.splitlines())
        return {name.removeprefix(f"refs/{kind}/"): commit for commit, name in pairs}
