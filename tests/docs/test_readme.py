"""The README: its commands do what it says, and it says what a reader of the predecessor's documentation looks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from page_links import broken_links, pages
from transcripts import ROOT, Followed, blocks, commands

README = ROOT / "README.md"


@pytest.mark.parametrize("readme", ["README.md"])
def test_every_command_does_what_the_readme_says(followed: Mapping[str, Followed], readme: str) -> None:
    assert not followed[readme].problem, followed[readme].problem
    assert followed[readme].commands >= 10


def test_the_two_commands_and_the_usual_ones_are_shown() -> None:
    typed = "\n".join(
        command.text
        for block in blocks(README.read_text())
        if block.language in ("console", "sh")
        for command in commands(block)
    )
    for needed in ("make demo", "make test", *(f"reconciler {verb} " for verb in VERBS)):
        assert needed in typed


VERBS = ("validate", "plan", "apply", "describe", "daemon")


def test_row_0_31_documentation_rules() -> None:
    """SQLite only, CSV for bootstrapping only, locks: all three are stated; every link leads somewhere."""
    rules = re.findall(r"^\d\. \*\*(.+?)\*\*(.+?)(?=^\d\. |^## |\Z)", README.read_text(), re.M | re.S)
    stated = {title: " ".join(text.split()) for title, text in rules}
    assert "one database" in stated["SQLite is the only source of truth."]
    assert "never opened again" in stated["CSV is for bootstrapping only."]
    lease = stated["One lease a resource."]
    assert all(word in lease for word in ("epoch", "crash", "taken over", "who holds it"))
    assert README in pages()
    assert broken_links() == [], "\n".join(broken_links())
