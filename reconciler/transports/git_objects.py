"""What git prints of trees and blobs, taken apart. Pure; used by `git.Mirror` and `git_remote`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

SYMLINK = "120000"
SUBMODULE = "160000"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree. path: as bytes, names need not be UTF-8. id: of its content. size: in bytes, 0 for none."""

    mode: str
    id: str
    size: int
    path: bytes

    @property
    def is_file(self) -> bool:
        """True for a regular file, executable or not."""
        return self.mode.startswith("100")


def parse_tree(listed: bytes) -> list[TreeEntry]:
    """The entries of `ls-tree -r -l -z`. Raises ValueError for anything else."""
    entries = []
    for line in listed.split(b"\0")[:-1]:
        facts, tab, path = line.partition(b"\t")
        mode, _kind, name, size = facts.decode("ascii").split()
        if not tab:
            raise ValueError("a line of ls-tree without a path")
        entries.append(TreeEntry(mode, name, int(size) if size.isdigit() else 0, path))
    return entries


def parse_blobs(content: bytes, asked: Iterable[TreeEntry]) -> dict[str, bytes]:
    """The blobs that `cat-file --batch` prints, by id. Raises ValueError unless all of them are there and whole."""
    found: dict[str, bytes] = {}
    begin = 0
    for entry in asked:
        line, newline, _ = content[begin : begin + 200].partition(b"\n")
        if not newline or line != f"{entry.id} blob {entry.size}".encode():
            raise ValueError(f"{entry.id} is not what the tree says: {line[:100].decode('utf-8', 'replace')}")
        begin += len(line) + 1
        found[entry.id] = content[begin : begin + entry.size]
        begin += entry.size + 1
    if begin != len(content):
        raise ValueError("cat-file printed something else")
    return found


def blob_id(content: bytes, example: str = "") -> str:
    """The id that git gives to a file's content. example: any id of the repository, to tell SHA-256 from SHA-1."""
    algorithm = "sha256" if len(example) == 64 else "sha1"
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
