"""The project's own pages and the links between them. Used by tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from transcripts import ROOT

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_CODE = re.compile(r"`[^`\n]*`")
_OUTSIDE = ("http://", "https://", "mailto:")


@cache
def pages() -> tuple[Path, ...]:
    """Every Markdown page that belongs to the project."""
    folders = ("docs", "examples", "reconciler", "web", "specs")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    return tuple(sorted(found))


def broken_links() -> list[str]:
    """`page: link` for every link inside the project that leads nowhere, and for every heading that is not there."""
    return [f"{page.relative_to(ROOT)}: {link}" for page in pages() for link in _links(page) if not _leads(page, link)]


def _links(page: Path) -> Iterator[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text()))
    return (link for link in _LINK.findall(text) if not link.startswith(_OUTSIDE))


def _leads(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not heading or heading in _headings(target)


def _headings(page: Path) -> set[str]:
    """Anchors as code hosts make them: lower case, spaces to dashes, punctuation dropped."""
    lines = re.findall(r"^#+ +(.+)$", _FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in lines}
