"""Real git repositories for tests, made without a working tree, and the servers that give them out.

Commits are written with git's plumbing, so that a test can put anything into a tree: links, submodules, odd names.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

LINK = "120000"
SUBMODULE = "160000"
Content = str | bytes | tuple[str, str]
"""A file's text, or a mode and what belongs to it: where a link leads, the commit of a submodule."""


class Repository:
    """A bare repository. Its commits hold just what a test says, unless it is told to build on the one before."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        self.files: dict[str, Content] = {}
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_DIR": str(path),
            "GIT_INDEX_FILE": str(path / "index-of-the-test"),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--template=", "-b", branch, str(path))

    @property
    def url(self) -> str:
        """Its address as a file."""
        return f"file://{self.path}"

    def git(self, *arguments: str, stdin: bytes = b"", **environ: str) -> str:
        """What git prints."""
        done = subprocess.run(
            ["git", *arguments], env={**self._environ, **environ}, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode(errors="replace").strip()

    def commit(
        self,
        files: Mapping[str, Content | None],
        subject: str = "change",
        *,
        branch: str = "main",
        author: str = "Ada <ada@example.com>",
        orphan: bool = False,
    ) -> str:
        """A commit with these files on top of what was there (None: removed). orphan: without history, and alone."""
        self.files = {} if orphan else self.files
        for path, content in files.items():
            self.files.pop(path, None)
            if content is not None:
                self.files[path] = content
        return self._commit(subject, branch, author, orphan=orphan)

    def head(self, branch: str = "main") -> str:
        """The commit of a branch, or "" without one."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def _commit(self, subject: str, branch: str, author: str, *, orphan: bool) -> str:
        name, _, address = author.partition(" <")
        self.git("read-tree", "--empty")
        lines = b"".join(
            f"{mode} {self._stored(mode, content)}\t".encode() + os.fsencode(path) + b"\0"
            for path, (mode, content) in ((path, _typed(content)) for path, content in self.files.items())
        )
        self.git("update-index", "-z", "--index-info", stdin=lines)
        tree = self.git("write-tree")
        parents = ["-p", before] if (before := self.head(branch)) and not orphan else []
        who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address.rstrip(">")}
        who |= {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address.rstrip(">")}
        commit = self.git("commit-tree", tree, *parents, stdin=subject.encode(), **who)
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def _stored(self, mode: str, content: str | bytes) -> str:
        if mode == SUBMODULE:
            return str(content)
        stdin = content.encode() if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", stdin=stdin)


def _typed(content: Content) -> tuple[str, str | bytes]:
    return content if isinstance(content, tuple) else ("100644", content)


def document(name: str, text: str = "hello", **spec: object) -> str:
    """The document of an entry."""
    written = {
        "apiVersion": "reconciler.dev/v1",
        "kind": "Entry",
        "metadata": {"name": name},
        "spec": {"text": text, **spec},
    }
    return yaml.safe_dump(written, sort_keys=False)
