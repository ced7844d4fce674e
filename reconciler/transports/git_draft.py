"""A commit as the stream that `git fast-import` reads. Pure; used by `git_remote`.

One process makes blobs, trees and the commit, without an index and without a working tree. Who wrote it and when comes
from us alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.errors import SpecError

WHOLE = "."
"""As the folder of a draft: the whole branch."""
_LONGEST_PATH = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """A commit to be made. files: by path; None for one that is not to be there. author: `NAME <ADDRESS>`, at: seconds.

    under: the folder below which nothing else is to be, "" for no such folder, `.` for the whole branch. onto: the
    commit that it follows, None for the first of its branch.
    """

    files: Mapping[str, bytes | None]
    message: str
    author: str
    at: float
    onto: str | None = None
    under: str = ""

    def stream(self, ref: str) -> str:
        """Its stream; the commit's id is printed. Every byte of it survives `surrogateescape`. Raises SpecError."""
        check_paths(self.files)
        message = self.message.encode("utf-8", "replace")
        parts = [b"feature done\n", f"reset {ref}\n\ncommit {ref}\nmark :1\n".encode()]
        parts.append(f"committer {_person(self.author)} {int(self.at)} +0000\n".encode())
        parts.append(b"data %d\n%s\n" % (len(message), message))
        if self.onto is not None:
            parts.append(f"from {self.onto}\n".encode())
            parts.append(self._cleared())
        parts += [_change(path, content) for path, content in sorted(self.files.items())]
        parts.append(b"\nget-mark :1\ndone\n")
        return b"".join(parts).decode("utf-8", "surrogateescape")

    def _cleared(self) -> bytes:
        if not self.under:
            return b""
        if self.under == WHOLE:
            return b"deleteall\n"
        check_paths([self.under])
        return b"D %s\n" % _quoted(self.under)


def check_paths(paths: Mapping[str, object] | list[str]) -> None:
    """Raise SpecError for a path that is none inside a repository, or that needs another one to be a folder."""
    for path in paths:
        parts = path.split("/")
        is_plain = all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
        if not is_plain or not path.isprintable() or len(path.encode()) > _LONGEST_PATH:
            raise SpecError("BadGitPath", f"{path[:200]!r} is not taken as the path of a file in a repository")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in paths:
                raise SpecError("BadGitPath", f"{path[:200]!r} would lie in what is a file")


def _change(path: str, content: bytes | None) -> bytes:
    if content is None:
        return b"D %s\n" % _quoted(path)
    return b"M 100644 inline %s\ndata %d\n%s\n" % (_quoted(path), len(content), content)


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()


def _person(author: str) -> str:
    """`NAME <ADDRESS>` without what would end the line or the address."""
    name, _, address = author.partition("<")
    plain = "".join(character for character in name if character.isprintable() and character not in "<>").strip()
    mail = "".join(character for character in address if character.isprintable() and character not in "<> ")
    return f"{plain or 'reconciler'} <{mail}>"
