"""One thing wrong with the input, with its place. Made by the loader, shown by `validate`, kept in `SpecValid`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.resource import ResourceRef


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file.

    path: as shown to people. line, column: from 1, 0 where there is none. message: with the offending value, shortened,
    and never a secret. owner: as in `Source.owner`. ref: the resource that it belongs to, if it belongs to one.
    """

    path: str
    line: int
    column: int
    message: str
    owner: str
    ref: ResourceRef | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"
