"""The table of attacks names only files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_every_named_test_exists() -> None:
    named = re.findall(r"`((?:tests/\w+/)?test_\w+\.py)(?:::(\w+))?`", (HERE / "README.md").read_text())
    assert len(named) > 25
    for file, test in named:
        path = ROOT / file if "/" in file else HERE / file
        assert path.is_file(), f"{file} does not exist"
        assert not test or re.search(rf"^(async )?def {test}\(", path.read_text(), re.MULTILINE), (
            f"{file} has no {test}"
        )


def test_every_file_here_is_in_the_table() -> None:
    page = (HERE / "README.md").read_text()
    assert not [path.name for path in HERE.glob("test_attack_*.py") if path.name not in page]
