"""docs/architecture.md names only what there is, and leaves no package out; decisions are numbered and whole."""

from __future__ import annotations

import re

import code_names
import pytest
from transcripts import ROOT

PAGE = ROOT / "docs" / "architecture.md"
DECISIONS = ROOT / "docs" / "decisions"
HEADINGS = ["Context", "Decision", "Over", "Why", "Consequences"]


def test_every_name_exists() -> None:
    unknown = code_names.unknown_names(PAGE.read_text())
    assert unknown == [], "docs/architecture.md: " + ", ".join(unknown)


def test_every_package_is_described() -> None:
    page = PAGE.read_text()
    assert [package for package in code_names.packages() if f"`{package}`" not in page] == []


@pytest.mark.parametrize(
    "span",
    ["WorkQueues", "Lease.fence()", "make_plans()", "engine/queues.py", "Plan.sumary", "no_such_table", "a.b.c"],
)
def test_a_name_that_is_gone_is_found(span: str) -> None:
    assert code_names.unknown_names(f"text\n`{span}` and `Plan`") == [f"2: {span}"]


def test_names_in_fenced_blocks_are_somebody_elses() -> None:
    assert (
        code_names.unknown_names("```\n`NoSuchName`\n```\n`Plan`, `Plan.summary()`, `engine/queue.py`, `web/`\n") == []
    )


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", *(f"docs/decisions/{p.name}" for p in DECISIONS.iterdir())]
)
def test_every_path_of_ours_exists(page: str) -> None:
    assert code_names.unknown_paths((ROOT / page).read_text()) == []


def test_decisions_are_numbered_and_listed() -> None:
    pages = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    index = (DECISIONS / "README.md").read_text()
    for name in pages:
        text = (DECISIONS / name).read_text()
        title = re.match(r"# (\d+)\. (.+)\n", text)
        assert title is not None, name
        assert int(title[1]) == int(name[:4])
        assert f"- [{title[2]}]({name})" in index
        assert re.findall(r"^## (.+)$", text, re.M) == HEADINGS, name
        assert len(text.splitlines()) <= 60, f"{name} is longer than a page"
