"""Where in an HAProxy file we may write: regions between marked lines. Pure; `routes` edits inside of them.

    # BEGIN DYNAMIC ACL …            in each of our frontends, once
    # END DYNAMIC ACL
    # BEGIN DYNAMIC USE_BACKEND …    likewise
    # END DYNAMIC USE_BACKEND
    # BEGIN DYNAMIC BACKENDS …       once, where a section may begin
    # END DYNAMIC BACKENDS

What follows the three words on a marked line is for people. A file in which any of this is missing, doubled or in
another place is not touched: the error names the line, and what was expected there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from reconciler.errors import TransientError

RegionKind = Literal["ACL", "USE_BACKEND", "BACKENDS"]
IN_FRONTENDS: tuple[RegionKind, ...] = ("ACL", "USE_BACKEND")
_SECTIONS = frozenset(
    (
        *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist", "cache"),
        *("program", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme"),
    )
)
"""Words that begin a section wherever they come first on a line."""
_MARK = re.compile(r"\s*#\s*(BEGIN|END) DYNAMIC (ACL|USE_BACKEND|BACKENDS)(?![A-Za-z0-9_-])")


@dataclass(frozen=True, slots=True)
class Region:
    """Lines between two marks. begin, end: indexes of the marked lines. frontend: "" for BACKENDS."""

    kind: RegionKind
    frontend: str
    begin: int
    end: int

    @property
    def inside(self) -> range:
        """Indexes of its lines, without the marked ones."""
        return range(self.begin + 1, self.end)

    def __str__(self) -> str:
        return f"{self.kind} in {self.frontend}" if self.frontend else self.kind


def words_of(line: str) -> list[str]:
    """The words of a line; none for an empty one and for a comment."""
    words = line.split()
    return [] if not words or words[0].startswith("#") else words


def is_section(words: Sequence[str]) -> bool:
    """Whether a line with these words begins a section."""
    return bool(words) and words[0] in _SECTIONS


def find_regions(lines: Sequence[str], path: str, frontends: Sequence[str]) -> tuple[Region, ...]:
    """The regions in their order in the file. Raises TransientError("DamagedFile") naming file and line.

    frontends: each has to be there, and to have both of its regions.
    """
    search = _Search(path, frontends)
    for index, line in enumerate(lines):
        search.read(index, line)
    return search.finished(lines)


def damaged(path: str, index: int, why: str) -> TransientError:
    """The error for a file that people have to put right. index: of the line, counted from 0."""
    return TransientError("DamagedFile", f"{path}:{index + 1}: {why}")


class _Search:
    """One walk through a file."""

    def __init__(self, path: str, frontends: Sequence[str]) -> None:
        self._path = path
        self._wanted = frontends
        self._begins: dict[str, int] = {}
        """Index of each frontend's first line."""
        self._frontend = ""
        self._open: Region | None = None
        self._found: list[Region] = []

    def read(self, index: int, line: str) -> None:
        """The next line."""
        mark = _MARK.match(line)
        words = words_of(line)
        if mark is not None:
            kind: RegionKind = mark[2]  # type: ignore[assignment]  # the pattern knows just these
            (self._begin if mark[1] == "BEGIN" else self._end)(index, kind)
        elif is_section(words):
            self._section(index, words)

    def finished(self, lines: Sequence[str]) -> tuple[Region, ...]:
        """What was found, if it is all that has to be there."""
        if self._open is not None:
            self._fail(
                len(lines) - 1, f"the file ends here; expected {self._end_mark} for {self._shown_open} before it"
            )
        last = max(len(lines) - 1, 0)
        for name in self._wanted:
            if name not in self._begins:
                self._fail(last, f"the file has no 'frontend {name}', which the routes go through")
            for kind in IN_FRONTENDS:
                self._expect(kind, name, self._begins[name])
        self._expect("BACKENDS", "", last)
        self._check_end_of_backends(lines)
        return tuple(self._found)

    def _begin(self, index: int, kind: RegionKind) -> None:
        if self._open is not None:
            self._fail(
                index, f"a region {kind} begins here; expected {self._end_mark} for {self._shown_open} before it"
            )
        frontend = self._frontend if kind in IN_FRONTENDS else ""
        if kind in IN_FRONTENDS and frontend not in self._wanted:
            where = f"frontend {frontend}" if frontend else "no frontend"
            self._fail(index, f"a region {kind} begins in {where}; expected only in {', '.join(self._wanted)}")
        for other in self._found:
            if (other.kind, other.frontend) == (kind, frontend):
                self._fail(index, f"a second region {other} begins here; the first one is in line {other.begin + 1}")
        self._open = Region(kind, frontend, index, index)

    def _end(self, index: int, kind: RegionKind) -> None:
        if self._open is None:
            self._fail(index, f"a region {kind} ends here; expected '# BEGIN DYNAMIC {kind}' before it")
        if self._open.kind != kind:
            self._fail(index, f"a region {kind} ends here; expected {self._end_mark} for {self._shown_open}")
        self._found.append(Region(kind, self._open.frontend, self._open.begin, index))
        self._open = None

    def _section(self, index: int, words: list[str]) -> None:
        if self._open is not None and self._open.kind in IN_FRONTENDS:
            self._fail(index, f"a section begins here; expected {self._end_mark} for {self._shown_open} before it")
        self._frontend = words[1] if words[0] == "frontend" and len(words) > 1 else ""
        if self._frontend in self._begins:
            first = self._begins[self._frontend] + 1
            self._fail(index, f"a second frontend {self._frontend} begins here; the first one is in line {first}")
        if self._frontend:
            self._begins[self._frontend] = index

    def _expect(self, kind: RegionKind, frontend: str, index: int) -> None:
        if not any((one.kind, one.frontend) == (kind, frontend) for one in self._found):
            where = f"frontend {frontend}" if frontend else "the file"
            marks = f"'# BEGIN DYNAMIC {kind}' and '# END DYNAMIC {kind}'"
            self._fail(index, f"{where} has no region {kind}; expected the lines {marks} in it")

    def _check_end_of_backends(self, lines: Sequence[str]) -> None:
        """Sections are put in there, so nothing may follow that belongs to the section before."""
        region = next(one for one in self._found if one.kind == "BACKENDS")
        for index in range(region.end + 1, len(lines)):
            words = words_of(lines[index])
            if words and not is_section(words):
                why = f"{words[0]!r} follows the region BACKENDS and would belong to a backend in it"
                self._fail(index, f"{why}; expected a line that begins a section")
            if words:
                return

    @property
    def _shown_open(self) -> str:
        assert self._open is not None
        return f"the region {self._open} that begins in line {self._open.begin + 1}"

    @property
    def _end_mark(self) -> str:
        assert self._open is not None
        return f"'# END DYNAMIC {self._open.kind}'"

    def _fail(self, index: int, why: str) -> NoReturn:
        raise damaged(self._path, index, why)
